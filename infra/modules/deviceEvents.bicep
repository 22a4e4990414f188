// New devices of one hub, to the function on_device_event. In the hub's resource group, as a topic is beside its source.

@description('Name of the hub.')
param hubName string

@description('Unique token of the app, for names.')
param appName string

@description('Id of the Function App.')
param functionAppId string

@description('Id of the storage account for events that cannot be delivered.')
param storageId string

@description('Id of the hub\'s system topic, where there is one already; empty: make one.')
param existingTopicId string

var groupName = empty(existingTopicId) ? resourceGroup().name : split(existingTopicId, '/')[4]
var topicName = empty(existingTopicId) ? 'evgt-${uniqueString(hub.id)}-${appName}' : last(split(existingTopicId, '/'))

resource hub 'Microsoft.Devices/IotHubs@2023-06-30' existing = {
  name: hubName
}

module topic 'topic.bicep' = {
  name: 'topic-${uniqueString(hub.id)}-${appName}'
  scope: resourceGroup(groupName)
  params: {
    name: topicName
    location: hub.location
    source: hub.id
    topicType: 'Microsoft.Devices.IoTHubs'
    make: empty(existingTopicId)
    appName: appName
    storageId: storageId
  }
}

module events 'eventSubscription.bicep' = {
  name: 'subscription-${uniqueString(hub.id)}-${appName}'
  scope: resourceGroup(groupName)
  params: {
    name: appName
    topicName: topic.outputs.name
    functionId: '${functionAppId}/functions/on_device_event'
    storageId: storageId
    eventTypes: [
      'Microsoft.Devices.DeviceCreated'
    ]
    filters: []
  }
}
