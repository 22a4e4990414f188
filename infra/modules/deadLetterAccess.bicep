// Lets a system topic's identity write into the container of events that could not be delivered, and nowhere else.

@description('Id of the topic, for the name.')
param topicId string

@description('Object id of the topic\'s identity.')
param principalId string

@description('Name of the storage account.')
param storageName string

var blobDataContributor = 'ba92f5b4-2d11-453d-a403-e96b0029c9fe'

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = {
  name: storageName
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' existing = {
  parent: account
  name: 'default'
}

resource letters 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' existing = {
  parent: blobs
  name: 'hubwarden-deadletters'
}

resource access 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  scope: letters
  name: guid(letters.id, topicId, principalId, blobDataContributor)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', blobDataContributor)
  }
}

output given bool = !empty(access.id)
