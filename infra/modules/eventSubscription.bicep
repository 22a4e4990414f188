// A function's subscription to a system topic.
//
// The schema is Event Grid's own: Azure makes both kinds of event in it, the binding hands them over as EventGridEvent,
// and a dead letter of it says why it is one. The app reads CloudEvents too, for whoever subscribes it otherwise.

@description('Name of the event subscription.')
param name string

@description('Name of the topic.')
param topicName string

@description('Id of the function.')
param functionId string

@description('Id of the storage account for events that cannot be delivered.')
param storageId string

@description('Types of the events that are wanted.')
param eventTypes array

@description('What must hold of an event besides; empty: nothing.')
param filters array

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource events 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = {
  parent: topic
  name: name
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    destination: {
      endpointType: 'AzureFunction'
      properties: {
        resourceId: functionId
        maxEventsPerBatch: 1
        preferredBatchSizeInKilobytes: 64
      }
    }
    filter: {
      includedEventTypes: eventTypes
      advancedFilters: filters
      enableAdvancedFilteringOnArrays: false
    }
    // A day, with all the tries that Event Grid makes in it. What comes later than that, the sweep has long found.
    retryPolicy: {
      maxDeliveryAttempts: 30
      eventTimeToLiveInMinutes: 1440
    }
    deadLetterWithResourceIdentity: {
      identity: {
        type: 'SystemAssigned'
      }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: {
          resourceId: storageId
          blobContainerName: 'hubwarden-deadletters'
        }
      }
    }
  }
}

output id string = events.id
