// The system topic of a source: made, or found as others have made it. Its identity gets the right to leave events that
// cannot be delivered, for no key opens that storage account. Topics in `global` may have one too, which older pages
// deny: https://learn.microsoft.com/azure/event-grid/enable-identity-system-topics

@description('Name of the topic.')
param name string

@description('Region of the source; `global` of a subscription.')
param location string

@description('Id of what the events are about.')
param source string

@description('What kind of source it is, as Event Grid names it.')
param topicType string

@description('Make it; else it is there already, is left as it is, and must have a system-assigned identity.')
param make bool

@description('Unique token of the app, for names.')
param appName string

@description('Id of the storage account for events that cannot be delivered.')
param storageId string

resource made 'Microsoft.EventGrid/systemTopics@2025-02-15' = if (make) {
  name: name
  location: location
  tags: {
    hubwarden: appName
  }
  identity: {
    type: 'SystemAssigned'
  }
  properties: {
    source: source
    topicType: topicType
  }
}

resource found 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = if (!make) {
  name: name
}

module deadLetterAccess 'deadLetterAccess.bicep' = {
  name: 'letters-${uniqueString(resourceGroup().id, name, appName)}'
  scope: resourceGroup(split(storageId, '/')[2], split(storageId, '/')[4])
  params: {
    topicId: resourceId('Microsoft.EventGrid/systemTopics', name)
    principalId: make ? made!.identity.principalId : found!.identity.principalId
    storageName: last(split(storageId, '/'))
  }
}

// Not before the right is there: who asks for this name waits for it.
output name string = deadLetterAccess.outputs.given ? name : ''
