// The whole service in one subscription, and its rights in every subscription that the policy file names.
//
// What it watches and what it may change there comes from policy.yaml alone; the app reads the same file. A rule that
// is only reported gives no right to write. Events are a second deployment (events.bicep), as Event Grid wants the
// functions to be there before it subscribes them.
//
// Nothing here may lie in a resource group but the service's own: `azd down` deletes every group that this deployment
// touches. So rights on where logs go are a deployment of their own too (destinations.bicep).
targetScope = 'subscription'

@description('Name of the azd environment; names and tags are made of it.')
@minLength(1)
@maxLength(64)
param environmentName string

@description('Region of the service. It must have Flex Consumption: az functionapp list-flexconsumption-locations.')
@minLength(1)
@metadata({
  azd: {
    type: 'location'
  }
})
param location string

@description('Object id of who deploys: may then write the vault\'s secrets. Empty: nobody.')
param principalId string = ''

@description('What that is.')
@allowed([
  'User'
  'Group'
  'ServicePrincipal'
])
param principalType string = 'User'

@description('Put the app into a network of its own, with storage and vault behind private endpoints.')
param vnetEnabled bool = false

@description('The network\'s addresses, a /24 or larger; with vnetEnabled.')
param vnetAddressPrefix string = '10.90.0.0/24'

@description('Give the app one fixed outgoing address, for whoever filters by address; with vnetEnabled.')
param fixedOutgoingAddress bool = false

@description('An IPv4 address from which the closed vault and storage are reached, such as that of who deploys; with vnetEnabled.')
param allowedIpAddress string = ''

@description('How many instances are kept warm for events, and as many for judging. 0 costs nothing while nothing happens.')
@minValue(0)
@maxValue(20)
param alwaysReadyInstances int = 0

@description('How many instances a function may have at most. They share one budget of calls to Azure, so more is not faster.')
@minValue(1)
@maxValue(1000)
param maximumInstances int = 40

@description('Memory of an instance, in MB.')
@allowed([
  512
  2048
  4096
])
param instanceMemory int = 2048

@description('When every hub is looked at: NCRONTAB with seconds, in UTC.')
@minLength(11)
param sweepSchedule string = '0 */15 * * * *'

@description('Id of the action group that alerts go to. Empty: alerts are only shown.')
param actionGroupId string = ''

@description('Alert where no sweep was complete for so many hours.')
@minValue(1)
@maxValue(24)
param noSweepHours int = 2

@description('How long a line of the audit trail can be neither changed nor deleted, in days.')
@minValue(1)
@maxValue(146000)
param auditRetentionDays int = 365

@description('You have locked the audit trail\'s policy: deployments leave it alone from then on.')
param auditPolicyLocked bool = false

@description('When blobs of the audit trail are deleted, in days after their last line, never before auditRetentionDays. 0: never.')
@minValue(0)
param auditDeleteAfterDays int = 0

@description('How long logs are kept, in days.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90

@description('How often the state is kept, and where.')
@allowed([
  'Standard_LRS'
  'Standard_ZRS'
  'Standard_GRS'
  'Standard_GZRS'
])
param storageRedundancy string = 'Standard_LRS'

@description('Where people reach the app, such as https://hubwarden.example.com. Empty: by its own name.')
param publicUrl string = ''

@description('Client id of the Entra application that people sign in to for approvals. Empty: nobody signs in, a link is enough.')
param authClientId string = ''

@description('Paths for which nobody is asked to sign in: each checks a key of its own, or is public. Never the approvals, where the app believes whom the platform names: programs that decide there show a token of authClientId besides their signature.')
param authExcludedPaths array = [
  '/runtime/webhooks/eventgrid'
  '/runtime/webhooks/EventGrid' // as Event Grid itself writes it; whether case counts here is nowhere said
  '/api/health'
  '/api/openapi.json'
]

@description('Nothing is written to any hub, whatever the policy file says.')
param killSwitch bool = false

@description('More app settings. They replace none of ours.')
param extraSettings object = {}

@description('More app settings that are secrets of the vault, such as those of tickets and channels: the secret\'s name by the setting\'s, {HUBWARDEN_GITHUB_TOKEN: \'github-token\'}.')
param vaultSettings object = {}

@description('Id (not the display name) of the management group to watch, where the policy file says `subscriptions: [all]`. Its rights are a deployment of their own (management-group.bicep).')
param managementGroupId string = ''

@description('Ids of those subscriptions of the policy file that another tenant has delegated by Azure Lighthouse: their rights are in the delegation, and Event Grid delivers nothing from there.')
param delegatedSubscriptions array = []

@description('Bring back the vault of an earlier deployment of this name, which was deleted. For one deployment: Azure refuses it where the vault is there.')
param recoverVault bool = false

var policy = any(loadYamlContent('../policy.yaml'))
var everything = contains(policy.subscriptions, 'all')
var delegated = map(delegatedSubscriptions, id => toLower(id))
var subscriptions = everything ? [] : filter(map(policy.subscriptions, id => toLower(id)), id => !contains(delegated, id))
var rules = any(policy.?rules) ?? {}
var observe = (policy.?enforcement ?? '') == 'observe'
var logs = rules.?diagnostics ?? {}
var destinationIds = filter(concat([logs.?settings.?destination ?? ''], map(logs.?scopes ?? [], one => one.?settings.?destination ?? '')), id => !empty(id))
var roleSubscriptions = union(subscriptions, [subscription().subscriptionId], map(destinationIds, id => toLower(split(id, '/')[2])))
var resourceToken = toLower(uniqueString(subscription().id, environmentName, location))
var appName = 'hubwarden-${resourceToken}'
var vaultName = 'kv-${resourceToken}'
var vaultReferences = toObject(items(vaultSettings), setting => setting.key, setting => '@Microsoft.KeyVault(VaultName=${vaultName};SecretName=${setting.value})')
var tags = { 'azd-env-name': environmentName }

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: 'rg-${environmentName}'
  location: location
  tags: tags
}

module identity 'modules/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    location: location
    tags: tags
    appName: appName
  }
}

module monitoring 'modules/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    location: location
    tags: tags
    appName: appName
    retentionDays: logRetentionDays
  }
}

module storage 'modules/storage.bicep' = {
  name: 'storage'
  scope: group
  params: {
    location: location
    tags: tags
    name: 'st${resourceToken}'
    sku: storageRedundancy
    auditRetentionDays: auditRetentionDays
    auditPolicyLocked: auditPolicyLocked
    auditDeleteAfterDays: auditDeleteAfterDays
    closed: vnetEnabled
    allowedIpAddress: allowedIpAddress
    workspaceId: monitoring.outputs.workspaceId
  }
}

module vault 'modules/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    location: location
    tags: tags
    name: vaultName
    recover: recoverVault
    closed: vnetEnabled
    allowedIpAddress: allowedIpAddress
    workspaceId: monitoring.outputs.workspaceId
  }
}

module network 'modules/network.bicep' = if (vnetEnabled) {
  name: 'network'
  scope: group
  params: {
    location: location
    tags: tags
    appName: appName
    addressPrefix: vnetAddressPrefix
    fixedAddress: fixedOutgoingAddress
    storageId: storage.outputs.id
    vaultId: vault.outputs.id
  }
}

module access 'modules/access.bicep' = {
  name: 'access'
  scope: group
  params: {
    principalId: identity.outputs.principalId
    deployerId: principalId
    deployerType: principalType
    storageName: storage.outputs.name
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
  }
}

module app 'modules/app.bicep' = {
  name: 'app'
  scope: group
  params: {
    location: location
    tags: tags
    appName: appName
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    blobEndpoint: storage.outputs.blobEndpoint
    queueEndpoint: storage.outputs.queueEndpoint
    tableEndpoint: storage.outputs.tableEndpoint
    packageContainer: storage.outputs.packageContainer
    vaultEndpoint: vault.outputs.endpoint
    insightsName: monitoring.outputs.insightsName
    subnetId: vnetEnabled ? network!.outputs.appSubnetId : ''
    alwaysReadyInstances: alwaysReadyInstances
    maximumInstances: maximumInstances
    instanceMemory: instanceMemory
    sweepSchedule: sweepSchedule
    publicUrl: publicUrl
    killSwitch: killSwitch
    authClientId: authClientId
    authExcludedPaths: authExcludedPaths
    extraSettings: union(extraSettings, vaultReferences)
  }
  dependsOn: [
    access
  ]
}

module alerts 'modules/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    actionGroupId: actionGroupId
    noSweepHours: noSweepHours
  }
}

module workbook 'modules/workbook.bicep' = {
  name: 'workbook'
  scope: group
  params: {
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

module watch 'modules/watch.bicep' = [for id in subscriptions: {
  name: 'watch-${uniqueString(id, appName)}'
  scope: subscription(id)
  params: {
    principalId: identity.outputs.principalId
    appName: appName
    rules: rules
    observe: observe
  }
}]

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output AZURE_FUNCTION_NAME string = app.outputs.name
output AZURE_FUNCTION_ID string = app.outputs.id
output AZURE_FUNCTION_URL string = 'https://${app.outputs.hostName}'
output AZURE_STORAGE_ACCOUNT string = storage.outputs.name
output AZURE_KEY_VAULT string = vault.outputs.name
output AZURE_KEY_VAULT_ENDPOINT string = vault.outputs.endpoint
output HUBWARDEN_APP_NAME string = appName
output HUBWARDEN_IDENTITY_PRINCIPAL_ID string = identity.outputs.principalId
output HUBWARDEN_IDENTITY_CLIENT_ID string = identity.outputs.clientId
output HUBWARDEN_SUBSCRIPTIONS string = join(subscriptions, ' ')
output HUBWARDEN_DESTINATIONS string = join(destinationIds, ' ')
output HUBWARDEN_ROLE_SUBSCRIPTIONS string = join(roleSubscriptions, ' ')
output HUBWARDEN_MANAGEMENT_GROUP string = everything ? managementGroupId : ''
output HUBWARDEN_OUTGOING_ADDRESS string = vnetEnabled ? network!.outputs.outgoingAddress : ''
