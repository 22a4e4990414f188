// What the app may do where hubs' logs go. A deployment of its own, made by the postprovision hook: `azd down` deletes
// every resource group that its own deployment touches, created by it or not, and these are other people's
// (https://github.com/Azure/azure-dev/issues/2916).
targetScope = 'subscription'

@description('Object id of the app\'s identity: the output HUBWARDEN_IDENTITY_PRINCIPAL_ID of main.bicep.')
param principalId string

@description('Unique token of the app, for names: the output HUBWARDEN_APP_NAME.')
param appName string

var policy = any(loadYamlContent('../policy.yaml'))

module destinations 'modules/destinations.bicep' = {
  name: 'destinations-${uniqueString(appName)}'
  params: {
    principalId: principalId
    appName: appName
    rules: any(policy.?rules) ?? {}
    observe: (policy.?enforcement ?? '') == 'observe'
  }
}
