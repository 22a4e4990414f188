// The app's state: tables, queues and blobs of one account, which no key opens.
//
// Two things keep each other company badly, so they are kept apart here:
// - The audit trail is append blobs under a time-based immutability policy that lets them grow: until its days are
//   over, nobody changes or deletes a line. Versioning would make versions of append blobs that nobody could delete
//   either; it stays off. Azure tiers block blobs only, so the trail stays in the account's own tier: it is small.
// - Dead letters hold personal data (who made a change), so they go soon. Soft delete keeps what is deleted for
//   `softDeleteDays` more: a dead letter is gone for good after `deadLetterDays` + `softDeleteDays`.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Name of the storage account.')
@minLength(3)
@maxLength(24)
param name string

@description('How often the data is kept, and where.')
param sku string

@description('How long a line of the audit trail can be neither changed nor deleted, in days.')
param auditRetentionDays int

@description('The policy of the audit trail was locked: it is nobody\'s to write any more, and left alone.')
param auditPolicyLocked bool

@description('When blobs of the audit trail are deleted, in days after their last line; 0: never.')
param auditDeleteAfterDays int

@description('How long lists of devices and buried messages are kept, in days.')
param listDays int = 90

@description('How long an event that could not be delivered is kept, in days.')
param deadLetterDays int = 7

@description('How long deleted blobs and containers can be brought back, in days.')
param softDeleteDays int = 7

@description('Closed to the internet: private endpoints, Azure\'s own trusted services and `allowedIpAddress` only.')
param closed bool

@description('An IPv4 address that gets in all the same; empty for none.')
param allowedIpAddress string

@description('Where logs of deletions go.')
param workspaceId string

var tableNames = [
  'hubwardenfindings'
  'hubwardenhubs'
  'hubwardensweeps'
  'hubwardenremediations'
  'hubwardennonces'
  'hubwardensafety'
  'hubwardennotices'
  'hubwardentickets'
]

var queueNames = [
  'hubwarden-evaluate'
  'hubwarden-evaluate-poison'
  'hubwarden-remediate'
  'hubwarden-remediate-poison'
  'hubwarden-verify'
  'hubwarden-verify-poison'
  'hubwarden-census'
  'hubwarden-census-poison'
  'hubwarden-tickets'
  'hubwarden-tickets-poison'
  'hubwarden-notify'
  'hubwarden-notify-poison'
]

var containerNames = [
  'hubwarden-audit'
  'hubwarden-lists'
  'hubwarden-poison'
  'hubwarden-deadletters'
  'app-package'
]

var auditRule = {
  name: 'audit'
  enabled: true
  type: 'Lifecycle'
  definition: {
    filters: {
      blobTypes: [
        'appendBlob'
      ]
      prefixMatch: [
        'hubwarden-audit/'
      ]
    }
    actions: {
      baseBlob: {
        delete: {
          daysAfterModificationGreaterThan: max(auditDeleteAfterDays, auditRetentionDays + 1)
        }
      }
    }
  }
}

resource account 'Microsoft.Storage/storageAccounts@2025-06-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: {
    name: sku
  }
  properties: {
    accessTier: 'Hot'
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    allowSharedKeyAccess: false
    defaultToOAuthAuthentication: true
    isLocalUserEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: closed && empty(allowedIpAddress) ? 'Disabled' : 'Enabled'
    networkAcls: {
      // Event Grid, a trusted service, leaves dead letters here whatever else is closed.
      bypass: 'AzureServices'
      defaultAction: closed ? 'Deny' : 'Allow'
      ipRules: empty(allowedIpAddress) ? [] : [{ value: allowedIpAddress, action: 'Allow' }]
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: false
    deleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
    containerDeleteRetentionPolicy: {
      enabled: true
      days: softDeleteDays
    }
  }
}

resource containers 'Microsoft.Storage/storageAccounts/blobServices/containers@2025-06-01' = [for container in containerNames: {
  parent: blobs
  name: container
  properties: {
    publicAccess: 'None'
  }
}]

resource auditPolicy 'Microsoft.Storage/storageAccounts/blobServices/containers/immutabilityPolicies@2025-06-01' = if (!auditPolicyLocked) {
  parent: containers[indexOf(containerNames, 'hubwarden-audit')]
  name: 'default'
  properties: {
    immutabilityPeriodSinceCreationInDays: auditRetentionDays
    allowProtectedAppendWrites: true
  }
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2025-06-01' = [for queue in queueNames: {
  parent: queueService
  name: queue
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2025-06-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2025-06-01' = [for table in tableNames: {
  parent: tableService
  name: table
}]

resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2025-06-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: concat([
        {
          name: 'lists-and-buried-messages'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'hubwarden-lists/'
                'hubwarden-poison/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: listDays
                }
              }
            }
          }
        }
        {
          name: 'dead-letters'
          enabled: true
          type: 'Lifecycle'
          definition: {
            filters: {
              blobTypes: [
                'blockBlob'
              ]
              prefixMatch: [
                'hubwarden-deadletters/'
              ]
            }
            actions: {
              baseBlob: {
                delete: {
                  daysAfterModificationGreaterThan: deadLetterDays
                }
              }
            }
          }
        }
      ], auditDeleteAfterDays == 0 ? [] : [auditRule])
    }
  }
  dependsOn: [
    blobs
  ]
}

// Who deleted what: few lines, as nothing but the lifecycle should delete much.
resource logs 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  scope: blobs
  name: 'hubwarden'
  properties: {
    workspaceId: workspaceId
    logs: [
      {
        category: 'StorageDelete'
        enabled: true
      }
    ]
  }
}

output name string = account.name
output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
output packageContainer string = containers[indexOf(containerNames, 'app-package')].name
