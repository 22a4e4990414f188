// What the app's identity may do in one watched subscription: two custom roles that come to exactly what the policy
// file asks for (docs/permissions.md says why, action by action), each assigned to it here.
//
// The roles are kept where they need nothing any more, so that the next deployment takes away what a rule no longer
// needs: what a template leaves out, Azure would leave in place.
targetScope = 'subscription'

@description('Object id of the app\'s identity.')
param principalId string

@description('Unique token of the app, for names: role names are unique in the whole tenant.')
param appName string

@description('The rules of the policy file: mode, and scopes with modes of their own. What it does not name is reported.')
param rules object

@description('The policy file says `enforcement: observe`: nothing is ever written.')
param observe bool

var here = subscription().id
var rights = loadJsonContent('../rights.json')
var sections = map(items(rights.rules), rule => { needs: rule.value, wish: rules[?rule.key] ?? {} })
var wishes = map(sections, one => { needs: one.needs, modes: concat([one.wish.?mode ?? 'report'], map(one.wish.?scopes ?? [], scope => scope.?mode ?? (one.wish.?mode ?? 'report'))) })

// An unquoted `off` is a word to hubwarden, and may be false to whoever reads YAML 1.1.
var on = filter(wishes, rule => !empty(filter(rule.modes, mode => !contains(['off', 'false'], toLower(string(mode))))))
var fixed = filter(on, rule => !empty(filter(rule.modes, mode => contains(['approve', 'auto'], toLower(string(mode))))))

var readActions = reduce(map(on, rule => concat(rule.needs.read.actions, rule.needs.read.onDestination)), rights.service.read.actions, (all, some) => union(all, some))
var readDataActions = reduce(map(on, rule => rule.needs.read.dataActions), [], (all, some) => union(all, some))
var fixActions = observe ? [] : reduce(map(fixed, rule => rule.needs.fix.actions), [], (all, some) => union(all, some))

resource reader 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(here, appName, 'reader')
  properties: {
    roleName: 'hubwarden reader ${appName} ${subscription().subscriptionId}'
    description: 'What hubwarden needs to look at IoT hubs, for the rules that its policy file switches on.'
    type: 'CustomRole'
    permissions: [
      {
        actions: readActions
        notActions: []
        dataActions: readDataActions
        notDataActions: []
      }
    ]
    assignableScopes: [here]
  }
}

resource remediator 'Microsoft.Authorization/roleDefinitions@2022-04-01' = {
  name: guid(here, appName, 'remediator')
  properties: {
    roleName: 'hubwarden remediator ${appName} ${subscription().subscriptionId}'
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

output readerRoleId string = reader.id
output remediatorRoleId string = remediator.id
output writes bool = !empty(fixActions)
