// Events: who tells the app, within seconds, that somebody changed something. Deployed after the code, as Event Grid
// subscribes only a function that is there; the postdeploy hook does it (infra/hooks/postdeploy.sh).
//
// Of each watched subscription: a system topic in a resource group of its own, and a subscription of the function
// on_azure_event to it. Of chosen hubs besides: new devices, to on_device_event.
// Azure allows one system topic for a source. Where there is one already, name it in existingSystemTopics.
targetScope = 'subscription'

@description('Region of the service.')
param location string

@description('Unique token of the app, for names: the output HUBWARDEN_APP_NAME of main.bicep.')
param appName string

@description('The service\'s resource group: the output AZURE_RESOURCE_GROUP.')
param resourceGroupName string

@description('The Function App: the output AZURE_FUNCTION_NAME.')
param functionAppName string

@description('The storage account, for events that cannot be delivered: the output AZURE_STORAGE_ACCOUNT.')
param storageAccountName string

@description('Ids of the subscriptions to get events of: the output HUBWARDEN_SUBSCRIPTIONS, or where the policy file says `all` those that you choose. In the others, the sweep finds every change.')
param eventSubscriptionIds array

@description('Ids of the hubs of which new devices are looked at within seconds; of the others, the sweep does.')
param deviceEventHubs array = []

@description('System topics that others have made: the id of each by its source in lower case, which is /subscriptions/<id> or a hub\'s id. Each needs a system-assigned identity.')
param existingSystemTopics object = {}

var subscriptions = map(eventSubscriptionIds, id => toLower(id))
var home = '${subscription().id}/resourceGroups/${resourceGroupName}/providers'
var functionAppId = '${home}/Microsoft.Web/sites/${functionAppName}'
var storageId = '${home}/Microsoft.Storage/storageAccounts/${storageAccountName}'

module azureEvents 'modules/azureEvents.bicep' = [for id in subscriptions: {
  name: 'events-${uniqueString(id, appName)}'
  scope: subscription(id)
  params: {
    location: location
    appName: appName
    functionAppId: functionAppId
    storageId: storageId
    existingTopicId: existingSystemTopics[?'/subscriptions/${id}'] ?? ''
  }
}]

module deviceEvents 'modules/deviceEvents.bicep' = [for hub in deviceEventHubs: {
  name: 'devices-${uniqueString(toLower(hub), appName)}'
  scope: resourceGroup(split(hub, '/')[2], split(hub, '/')[4])
  params: {
    hubName: last(split(hub, '/'))
    appName: appName
    functionAppId: functionAppId
    storageId: storageId
    existingTopicId: existingSystemTopics[?toLower(hub)] ?? ''
  }
}]
