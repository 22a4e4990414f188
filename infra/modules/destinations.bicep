// What the app's identity may do on the destinations of logs that the policy file names: see that they are there, and
// point settings at them where diagnostics may be fixed. Called once, whatever the number of watched subscriptions.
targetScope = 'subscription'

@description('Object id of the app\'s identity.')
param principalId string

@description('Unique token of the app, for names.')
param appName string

@description('The rules of the policy file.')
param rules object

@description('The policy file says `enforcement: observe`: nothing is ever written.')
param observe bool

var rights = loadJsonContent('../rights.json')
var needs = rights.rules.diagnostics
var wish = rules[?'diagnostics'] ?? {}
var named = wish.?settings.?destination ?? ''

// A scope's mode and settings are the rule's own where it says nothing else.
var everywhere = [{ mode: wish.?mode ?? 'report', destination: named }]
var scopes = map(wish.?scopes ?? [], scope => { mode: scope.?mode ?? (wish.?mode ?? 'report'), destination: scope.?settings.?destination ?? named })
var sent = filter(concat(everywhere, scopes), one => !empty(one.destination) && !contains(['off', 'false'], toLower(string(one.mode))))
var fixed = observe ? [] : map(filter(sent, one => contains(['approve', 'auto'], toLower(string(one.mode)))), one => toLower(one.destination))
var destinations = union(map(sent, one => toLower(one.destination)), [])

module destination 'destination.bicep' = [for id in destinations: {
  name: 'destination-${uniqueString(id, appName)}'
  scope: resourceGroup(split(id, '/')[2], split(id, '/')[4])
  params: {
    principalId: principalId
    appName: appName
    destination: id
    actions: concat(needs.read.onDestination, contains(fixed, id) ? needs.fix.onDestination : [])
  }
}]
