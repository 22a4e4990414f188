// The one identity of the app: what it may do is in access.bicep and watch.bicep.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique token of the app, for names.')
param appName string

resource identity 'Microsoft.ManagedIdentity/userAssignedIdentities@2024-11-30' = {
  name: 'id-${appName}'
  location: location
  tags: tags
}

output id string = identity.id
output clientId string = identity.properties.clientId
output principalId string = identity.properties.principalId
