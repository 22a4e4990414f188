// The roles of modules/watch.bicep for a policy file that says `subscriptions: [all]`: on a management group, so that
// they hold in every subscription below it, those to come included. A deployment of its own, for the app's reaches no
// management group:
//
//   az deployment mg create --management-group-id <group> --location <region> --template-file infra/management-group.bicep
//     --parameters principalId=<HUBWARDEN_IDENTITY_PRINCIPAL_ID> appName=<HUBWARDEN_APP_NAME>
//
// A custom role with data actions cannot be assigned on a management group: the right to query devices comes from a
// built-in role, which allows more reading than that. docs/permissions.md says what to do instead.
targetScope = 'managementGroup'

@description('Object id of the app\'s identity.')
param principalId string

@description('Unique token of the app, for names: role names are unique in the whole tenant.')
param appName string

var policy = any(loadYamlContent('../policy.yaml'))
var rules = policy.?rules ?? {}
var observe = (policy.?enforcement ?? 'enforce') == 'observe'

var here = managementGroup().id
var roleSuffix = '${appName} ${take(managementGroup().name, 80)}' // a role's name has at most 128 characters
var rights = loadJsonContent('rights.json')
var sections = map(items(rights.rules), rule => { needs: rule.value, wish: rules[?rule.key] ?? {} })
var wishes = map(sections, one => { needs: one.needs, modes: concat([one.wish.?mode ?? 'report'], map(one.wish.?scopes ?? [], scope => scope.?mode ?? (one.wish.?mode ?? 'report'))) })

// An unquoted `off` is a word to hubwarden, and may be false to whoever reads YAML 1.1.
var on = filter(wishes, rule => !empty(filter(rule.modes, mode => !contains(['off', 'false'], toLower(string(mode))))))
var fixed = filter(on, rule => !empty(filter(rule.modes, mode => contains(['approve', 'auto'], toLower(string(mode))))))

var alwaysRead = concat(rights.service.read.actions, rights.service.listSubscriptions.actions)
var readActions = reduce(map(on, rule => concat(rule.needs.read.actions, rule.needs.read.onDestination)), alwaysRead, (all, some) => union(all, some))
var readDataActions = reduce(map(on, rule => rule.needs.read.dataActions), [], (all, some) => union(all, some))
var fixActions = observe ? [] : reduce(map(fixed, rule => rule.needs.fix.actions), [], (all, some) => union(all, some))

// IoT Hub Data Reader
var dataReader = tenantResourceId('Microsoft.Authorization/roleDefinitions', 'b447c946-2db7-41ec-983d-d8bf3b1c77e3')

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(here, appName, 'reader')
  properties: {
    roleName: 'hubwarden reader ${roleSuffix}'
    description: 'What hubwarden needs to look at IoT hubs, for the rules that its policy file switches on.'
    type: 'CustomRole'
    permissions: [
      {
        actions: readActions
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [here]
  }
}

resource remediator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(here, appName, 'remediator')
  properties: {
    roleName: 'hubwarden remediator ${roleSuffix}'
    description: 'What hubwarden needs beyond that to fix, for the rules that its policy file lets it fix.'
    type: 'CustomRole'
    permissions: [
      {
        actions: union(rights.service.fix.actions, fixActions)
        notActions: []
        dataActions: []
        notDataActions: []
      }
    ]
    assignableScopes: [here]
  }
}

resource readerAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(here, principalId, reader.id)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: reader.id
  }
}

resource remediatorAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(fixActions)) {
  name: guid(here, principalId, remediator.id)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: remediator.id
  }
}

resource dataAssignment 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(readDataActions)) {
  name: guid(here, principalId, dataReader)
  properties: {
    principalId: principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: dataReader
  }
}

output readerRoleId string = reader.id
output remediatorRoleId string = remediator.id
output writes bool = !empty(fixActions)
