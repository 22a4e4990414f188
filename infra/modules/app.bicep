// The Function App on a Flex Consumption plan. Storage, telemetry, vault and deployment go by its identity; no key.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique token of the app, for names.')
param appName string

@description('Id of the app\'s identity.')
param identityId string

@description('Client id of the app\'s identity.')
param identityClientId string

@description('Address of the account\'s blobs.')
param blobEndpoint string

@description('Address of the account\'s queues.')
param queueEndpoint string

@description('Address of the account\'s tables.')
param tableEndpoint string

@description('The container that the code is deployed to.')
param packageContainer string

@description('Address of the vault, with a slash at its end.')
param vaultEndpoint string

@description('Name of Application Insights.')
param insightsName string

@description('Id of the subnet that the app goes out through; empty for none.')
param subnetId string

@description('How many instances of the way from an event to a verdict are kept warm.')
param alwaysReadyInstances int

@description('How many instances there may be at most, each function by itself.')
param maximumInstances int

@description('Memory of an instance, in MB.')
param instanceMemory int

@description('When every hub is looked at: NCRONTAB, in UTC.')
param sweepSchedule string

@description('Where people reach the app, such as https://hubwarden.example.com; empty: by its own name.')
param publicUrl string

@description('Nothing is written to any hub.')
param killSwitch bool

@description('Client id of the Entra application that people sign in to; empty: nobody signs in.')
param authClientId string

@description('Paths that nobody is asked to sign in for.')
param authExcludedPaths array

@description('More app settings, such as Key Vault references of tickets and channels. They replace none of ours.')
param extraSettings object

// The names are those of hubwarden/adapters/azure/cloud.py; what Bicep does not know is given in full.
var clouds = {
  AzureCloud: 'public'
  AzureUSGovernment: 'usgov'
  AzureChinaCloud: 'china'
}
var cloud = clouds[?environment().name] ?? 'custom'
var custom = cloud == 'custom'

// Flex Consumption keeps warm by function; of those in between, the queue keeps what comes.
var warm = [
  'function:on_azure_event'
  'function:evaluate'
]

var appSettings = {
  AzureWebJobsStorage__blobServiceUri: blobEndpoint
  AzureWebJobsStorage__queueServiceUri: queueEndpoint
  AzureWebJobsStorage__tableServiceUri: tableEndpoint
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  AZURE_CLIENT_ID: identityClientId
  AZURE_TOKEN_CREDENTIALS: 'ManagedIdentityCredential'
  APPLICATIONINSIGHTS_CONNECTION_STRING: insights.properties.ConnectionString
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  PYTHON_APPLICATIONINSIGHTS_ENABLE_TELEMETRY: 'true'
  SWEEP_SCHEDULE: sweepSchedule
  HUBWARDEN_POLICY: 'policy.yaml'
  HUBWARDEN_CLOUD: cloud
  HUBWARDEN_ARM_ENDPOINT: custom ? environment().resourceManager : ''
  HUBWARDEN_ARM_AUDIENCE: custom ? environment().authentication.audiences[0] : ''
  HUBWARDEN_AUTHORITY: custom ? environment().authentication.loginEndpoint : ''
  HUBWARDEN_DATA_PLANE: ''
  HUBWARDEN_CLAIM_SECONDS: '60'
  HUBWARDEN_KILL: killSwitch ? '1' : '0'
  HUBWARDEN_PUBLIC_URL: publicUrl
  HUBWARDEN_APPROVAL_KEYS: '@Microsoft.KeyVault(SecretUri=${vaultEndpoint}secrets/approval-keys)'
  HUBWARDEN_WEBHOOK_KEYS: '@Microsoft.KeyVault(SecretUri=${vaultEndpoint}secrets/webhook-keys)'
}

// The platform proves who it is to Entra by the app's identity instead of a client secret:
// https://learn.microsoft.com/azure/app-service/configure-authentication-provider-aad#use-a-managed-identity-instead-of-a-secret-preview
var signInSettings = empty(authClientId) ? {} : { OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID: identityClientId }

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

resource plan 'Microsoft.Web/serverfarms@2025-03-01' = {
  name: 'plan-${appName}'
  location: location
  tags: tags
  kind: 'functionapp'
  sku: {
    tier: 'FlexConsumption'
    name: 'FC1'
  }
  properties: {
    reserved: true
  }
}

resource site 'Microsoft.Web/sites@2025-03-01' = {
  name: 'func-${appName}'
  location: location
  tags: union(tags, { 'azd-service-name': 'hubwarden' })
  kind: 'functionapp,linux'
  identity: {
    type: 'UserAssigned'
    userAssignedIdentities: {
      '${identityId}': {}
    }
  }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    clientAffinityEnabled: false
    keyVaultReferenceIdentity: identityId
    virtualNetworkSubnetId: empty(subnetId) ? null : subnetId
    siteConfig: {
      minTlsVersion: '1.2'
      scmMinTlsVersion: '1.2'
      ftpsState: 'Disabled'
      http20Enabled: true
      remoteDebuggingEnabled: false
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: '${blobEndpoint}${packageContainer}'
          authentication: {
            type: 'UserAssignedIdentity'
            userAssignedIdentityResourceId: identityId
          }
        }
      }
      runtime: {
        name: 'python'
        version: '3.13'
      }
      scaleAndConcurrency: {
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReadyInstances == 0 ? [] : map(warm, name => { name: name, instanceCount: alwaysReadyInstances })
      }
    }
  }
}

resource settings 'Microsoft.Web/sites/config@2025-03-01' = {
  parent: site
  name: 'appsettings'
  properties: union(extraSettings, appSettings, signInSettings)
}

// One after the other: App Service takes no two changes of a site's configuration at a time
// (https://github.com/Azure/azure-dev/pull/3125).
resource noFtp 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'ftp'
  properties: {
    allow: false
  }
  dependsOn: [
    settings
  ]
}

resource noPasswords 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2025-03-01' = {
  parent: site
  name: 'scm'
  properties: {
    allow: false
  }
  dependsOn: [
    noFtp
  ]
}

resource signIn 'Microsoft.Web/sites/config@2025-03-01' = if (!empty(authClientId)) {
  parent: site
  name: 'authsettingsV2'
  properties: {
    platform: {
      enabled: true
      runtimeVersion: '~1'
    }
    globalValidation: {
      requireAuthentication: true
      unauthenticatedClientAction: 'RedirectToLoginPage'
      redirectToProvider: 'azureactivedirectory'
      excludedPaths: authExcludedPaths
    }
    httpSettings: {
      requireHttps: true
    }
    login: {
      tokenStore: {
        enabled: false
      }
    }
    identityProviders: {
      azureActiveDirectory: {
        enabled: true
        registration: {
          clientId: authClientId
          clientSecretSettingName: 'OVERRIDE_USE_MI_FIC_ASSERTION_CLIENTID'
          openIdIssuer: '${environment().authentication.loginEndpoint}${tenant().tenantId}/v2.0'
        }
        validation: {
          allowedAudiences: [
            authClientId
            'api://${authClientId}'
          ]
        }
      }
    }
  }
  dependsOn: [
    noPasswords
  ]
}

output name string = site.name
output id string = site.id
output hostName string = site.properties.defaultHostName
