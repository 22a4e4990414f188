// A custom role on one destination of logs, assigned to the app's identity on that resource and nowhere else.
//
// Azure asks for the right to a destination's keys of whoever points a diagnostic setting at it.
targetScope = 'resourceGroup'

@description('Object id of the app\'s identity.')
param principalId string

@description('Unique token of the app, for names: role names are unique in the whole tenant.')
param appName string

@description('Resource id of a workspace, a storage account or an Event Hubs authorization rule of this resource group.')
param destination string

@description('What may be done on destinations; those that are for its resource type are given.')
param actions array

var here = resourceGroup().id
var parts = split(destination, '/')
var resourceType = toLower(length(parts) > 9 ? '${parts[6]}/${parts[7]}/${parts[9]}' : '${parts[6]}/${parts[7]}')
var allowed = filter(actions, action => startsWith(toLower(action), '${resourceType}/'))

resource workspace 'Microsoft.OperationalInsights/workspaces@2025-02-01' existing = if (resourceType == 'microsoft.operationalinsights/workspaces') {
  name: parts[8]
}

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' existing = if (resourceType == 'microsoft.storage/storageaccounts') {
  name: parts[8]
}

resource eventHubs 'Microsoft.EventHub/namespaces@2024-01-01' existing = if (resourceType == 'microsoft.eventhub/namespaces/authorizationrules') {
  name: parts[8]
}

resource rule 'Microsoft.EventHub/namespaces/authorizationRules@2024-01-01' existing = if (resourceType == 'microsoft.eventhub/namespaces/authorizationrules') {
  parent: eventHubs
  name: last(parts)
}

resource role 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(toLower(destination), appName)
  properties: {
    roleName: 'hubwarden logs ${appName} ${uniqueString(toLower(destination))}'
    description: 'What hubwarden needs on a destination of IoT hubs\' logs.'
    type: 'CustomRole'
    permissions: [
      {
        actions: allowed
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [here]
  }
}

var roleId = subscriptionResourceId('Microsoft.Authorization/roleDefinitions', role.name)

resource onWorkspace 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (resourceType == 'microsoft.operationalinsights/workspaces') {
  name: guid(toLower(destination), principalId, role.name)
  scope: workspace
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}

resource onAccount 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (resourceType == 'microsoft.storage/storageaccounts') {
  name: guid(toLower(destination), principalId, role.name)
  scope: account
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}

resource onRule 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (resourceType == 'microsoft.eventhub/namespaces/authorizationrules') {
  name: guid(toLower(destination), principalId, role.name)
  scope: rule
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: roleId
  }
}
