// One watched subscription's events of Azure Resource Manager, to the function on_azure_event.
targetScope = 'subscription'

@description('Region of the resource group; the topic itself is in none.')
param location string

@description('Unique token of the app, for names.')
param appName string

@description('Id of the Function App.')
param functionAppId string

@description('Id of the storage account for events that cannot be delivered.')
param storageId string

@description('Id of the subscription\'s system topic, where there is one already; empty: make one.')
param existingTopicId string

var groupName = empty(existingTopicId) ? 'rg-${appName}-events' : split(existingTopicId, '/')[4]
var topicName = empty(existingTopicId) ? 'evgt-${appName}' : last(split(existingTopicId, '/'))

// hubwarden/service/events.py says what the router makes of them; a test holds the two together. What is not named
// here, such as our own listing of keys, wakes nobody.
var operations = [
  'Microsoft.Devices/IotHubs/write'
  'Microsoft.Devices/IotHubs/delete'
  'Microsoft.Insights/diagnosticSettings/write'
  'Microsoft.Insights/diagnosticSettings/delete'
  'Microsoft.Security/iotSecuritySolutions/write'
  'Microsoft.Security/iotSecuritySolutions/delete'
  'Microsoft.Authorization/locks/write'
  'Microsoft.Authorization/locks/delete'
]

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = if (empty(existingTopicId)) {
  name: 'rg-${appName}-events'
  location: location
  tags: {
    hubwarden: appName
  }
}

module topic 'topic.bicep' = {
  name: 'topic-${appName}'
  scope: resourceGroup(groupName)
  params: {
    name: topicName
    location: 'global'
    source: subscription().id
    topicType: 'Microsoft.Resources.Subscriptions'
    make: empty(existingTopicId)
    appName: appName
    storageId: storageId
  }
  dependsOn: [
    group
  ]
}

module events 'eventSubscription.bicep' = {
  name: 'subscription-${appName}'
  scope: resourceGroup(groupName)
  params: {
    name: appName
    topicName: topic.outputs.name
    functionId: '${functionAppId}/functions/on_azure_event'
    storageId: storageId
    eventTypes: [
      'Microsoft.Resources.ResourceWriteSuccess'
      'Microsoft.Resources.ResourceDeleteSuccess'
    ]
    filters: [
      {
        operatorType: 'StringIn'
        key: 'data.operationName'
        values: operations
      }
    ]
  }
}
