// Alerts about hubwarden itself: what each means and what to do then stands in docs/watching.md.
// A query finds what is wrong; where nothing is wrong it answers no row, except that failures are added up.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Id of the workspace that the telemetry goes to.')
param workspaceId string

@description('Id of the action group that alerts go to. Empty: alerts are only shown.')
param actionGroupId string

@description('Alert where no sweep was complete for so many hours.')
@minValue(1)
@maxValue(24)
param noSweepHours int

var rows = {
  aggregation: 'Count'
  measure: null
  operator: 'GreaterThan'
  threshold: 0
}

// stands: nothing tells that it is over, so the alert stays until somebody closes it, and its actions rest for an hour.
// What a sweep tells (breaker, approvals) counts until the next one: their window is longer than the time between two sweeps.
var alerts = [
  {
    name: 'no-sweep'
    displayName: 'Hubwarden: no complete sweep'
    description: 'For ${noSweepHours} hours no sweep judged every hub. Sweeps 0: the service does not run; see the function sweep. Else a hub cannot be judged; health and the audit trail name it. docs/watching.md#no-complete-sweep'
    severity: 1
    query: replace(loadTextContent('../queries/no-sweep.kql'), 'ago(2h)', 'ago(${noSweepHours}h)')
    windowSize: 'P1D'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: false
  }
  {
    name: 'audit'
    displayName: 'Hubwarden: the audit trail cannot be written'
    description: 'A line of the audit trail could not be written, so nothing was written to Azure either. Look at the storage account: reachable, role of the identity, immutability policy. docs/watching.md#the-audit-trail-cannot-be-written'
    severity: 0
    query: loadTextContent('../queries/audit-unwritable.kql')
    windowSize: 'PT15M'
    evaluationFrequency: 'PT5M'
    criterion: rows
    stands: true
  }
  {
    name: 'breaker'
    displayName: 'Hubwarden: a breaker is open'
    description: 'errors: too many of the last fixes failed and all automatic fixing has stopped. hubs: somebody undoes our fixes. Read the tickets, then breaker reset, or release. docs/watching.md#a-breaker-is-open'
    severity: 1
    query: loadTextContent('../queries/breakers.kql')
    windowSize: 'P1D'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: false
  }
  {
    name: 'poison'
    displayName: 'Hubwarden: messages were buried'
    description: 'Messages failed every time, or could not be read. The container hubwarden-poison has them, with the reason. docs/watching.md#messages-were-buried'
    severity: 2
    query: loadTextContent('../queries/poison.kql')
    windowSize: 'PT30M'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: true
  }
  {
    name: 'failures'
    displayName: 'Hubwarden: invocations fail'
    description: 'Five or more invocations ended with an exception within an hour. They are tried again; look for the cause before messages are buried. docs/watching.md#invocations-fail'
    severity: 2
    query: loadTextContent('../queries/failures.kql')
    windowSize: 'PT1H'
    evaluationFrequency: 'PT15M'
    criterion: {
      aggregation: 'Total'
      measure: 'Failures'
      operator: 'GreaterThanOrEqual'
      threshold: 5
    }
    stands: false
  }
  {
    name: 'approvals'
    displayName: 'Hubwarden: approvals are about to expire'
    description: 'Fixes wait for a decision that is possible for less than four hours more. Decide: findings lists them. docs/watching.md#approvals-are-about-to-expire'
    severity: 2
    query: loadTextContent('../queries/approvals-expiring.kql')
    windowSize: 'P1D'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: false
  }
  {
    name: 'fixes'
    displayName: 'Hubwarden: fixes fail'
    description: 'Azure denied or refused a fix, or took it without effect. The ticket of the finding says why. docs/watching.md#fixes-fail'
    severity: 2
    query: loadTextContent('../queries/fixes-failing.kql')
    windowSize: 'PT30M'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: true
  }
  {
    name: 'arm'
    displayName: 'Hubwarden: Azure Resource Manager throttles'
    description: 'Azure throttles our calls, or hardly any are left. Reading waits by itself; find out who else calls. docs/watching.md#azure-resource-manager-throttles'
    severity: 3
    query: loadTextContent('../queries/arm-limits.kql')
    windowSize: 'PT1H'
    evaluationFrequency: 'PT15M'
    criterion: rows
    stands: false
  }
  {
    name: 'dead-letters'
    displayName: 'Hubwarden: events could not be delivered'
    description: 'Event Grid could not deliver events; they were read from the dead-letter container, late. See whether the function app was down. docs/watching.md#events-could-not-be-delivered'
    severity: 3
    query: loadTextContent('../queries/dead-letters.kql')
    windowSize: 'PT1H'
    evaluationFrequency: 'PT30M'
    criterion: rows
    stands: false
  }
]

// Azure takes no mute time from a rule that resolves its alerts by itself.
// The queries are checked by our tests: a new workspace may not know its tables yet.
resource rules 'Microsoft.Insights/scheduledQueryRules@2023-12-01' = [for alert in alerts: {
  name: 'hubwarden-${alert.name}'
  location: location
  tags: tags
  kind: 'LogAlert'
  properties: {
    displayName: alert.displayName
    description: alert.description
    severity: alert.severity
    enabled: true
    scopes: [
      workspaceId
    ]
    windowSize: alert.windowSize
    evaluationFrequency: alert.evaluationFrequency
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: alert.criterion.aggregation
          metricMeasureColumn: alert.criterion.measure
          operator: alert.criterion.operator
          threshold: alert.criterion.threshold
          failingPeriods: {
            numberOfEvaluationPeriods: 1
            minFailingPeriodsToAlert: 1
          }
        }
      ]
    }
    autoMitigate: !alert.stands
    muteActionsDuration: alert.stands ? 'PT1H' : null
    skipQueryValidation: true
    actions: {
      actionGroups: empty(actionGroupId) ? [] : [actionGroupId]
    }
  }
}]
