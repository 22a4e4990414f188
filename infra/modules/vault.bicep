// The vault of the keys that sign approvals. Bicep makes the vault, never a secret: the postprovision hook does.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Name of the vault.')
@minLength(3)
@maxLength(24)
param name string

@description('Bring back a vault of this name that was deleted; its name is taken until its days are over.')
param recover bool

@description('Closed to the internet: private endpoints, Azure\'s own trusted services and `allowedIpAddress` only.')
param closed bool

@description('An IPv4 address that gets in all the same; empty for none.')
param allowedIpAddress string

@description('Where the log of every access goes.')
param workspaceId string

resource vault 'Microsoft.KeyVault/vaults@2025-05-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: {
      family: 'A'
      name: 'standard'
    }
    createMode: recover ? 'recover' : 'default'
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 30
    enablePurgeProtection: true
    publicNetworkAccess: closed && empty(allowedIpAddress) ? 'Disabled' : 'Enabled'
    networkAcls: {
      bypass: 'AzureServices'
      defaultAction: closed ? 'Deny' : 'Allow'
      ipRules: empty(allowedIpAddress) ? [] : [{ value: allowedIpAddress }]
    }
  }
}

resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: vault
  name: 'hubwarden'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        categoryGroup: 'audit'
        enabled: true
      }
    ]
  }
}

output name string = vault.name
output id string = vault.id
output endpoint string = vault.properties.vaultUri
