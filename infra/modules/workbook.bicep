// The workbook: what hubwarden sees and does. Each tile is a query of infra/queries; docs/watching.md lists them.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Id of the workspace that the telemetry goes to.')
param workspaceId string

var sections = [
  {
    name: 'wrong'
    text: '## What is wrong\nEmpty is good. What to do: docs/watching.md.'
    tiles: [
      {
        title: 'Breakers open'
        query: loadTextContent('../queries/breakers.kql')
        visualization: 'table'
        width: '33'
        none: 'No breaker is open, as far as a sweep told in this time.'
      }
      {
        title: 'Messages buried'
        query: loadTextContent('../queries/poison.kql')
        visualization: 'table'
        width: '33'
        none: 'No message was buried.'
      }
      {
        title: 'Audit lines that could not be written'
        query: loadTextContent('../queries/audit-unwritable.kql')
        visualization: 'table'
        width: '33'
        none: 'None is missing.'
      }
      {
        title: 'Invocations that failed'
        query: loadTextContent('../queries/failures.kql')
        visualization: 'table'
        width: '50'
        none: 'None failed.'
      }
      {
        title: 'Fixes that need somebody'
        query: loadTextContent('../queries/fixes-failing.kql')
        visualization: 'table'
        width: '50'
        none: 'None was denied, refused or without effect.'
      }
    ]
  }
  {
    name: 'findings'
    text: '## Findings'
    tiles: [
      {
        title: 'Unresolved findings now: rule, severity, age'
        query: loadTextContent('../queries/findings.kql')
        visualization: 'table'
        width: '50'
        none: 'The newest sweep found nothing, or there was no sweep in this time.'
      }
      {
        title: 'Unresolved findings over time, by severity'
        query: loadTextContent('../queries/findings-trend.kql')
        visualization: 'timechart'
        width: '50'
        none: 'No sweep found anything.'
      }
      {
        title: 'Time to detect, in seconds: mean, lowest and highest (percentiles are not kept)'
        query: loadTextContent('../queries/time-to-detect.kql')
        visualization: 'table'
        width: '50'
        none: 'No drift of which an event told when it was made.'
      }
      {
        title: 'Time to fix, in seconds, waiting for approval included: mean, lowest and highest (percentiles are not kept)'
        query: loadTextContent('../queries/time-to-fix.kql')
        visualization: 'table'
        width: '50'
        none: 'No fix was proven.'
      }
    ]
  }
  {
    name: 'sweeps'
    text: '## Sweeps and coverage'
    tiles: [
      {
        title: 'Hubs judged, of all that the newest sweep saw'
        query: loadTextContent('../queries/coverage.kql')
        visualization: 'table'
        width: '100'
        none: 'No sweep in this time.'
      }
      {
        title: 'Sweeps an hour, complete and incomplete'
        query: loadTextContent('../queries/sweeps.kql')
        visualization: 'barchart'
        width: '50'
        none: 'No sweep in this time.'
      }
      {
        title: 'Duration of sweeps, in seconds: mean and longest'
        query: loadTextContent('../queries/sweep-duration.kql')
        visualization: 'timechart'
        width: '50'
        none: 'No sweep in this time.'
      }
    ]
  }
  {
    name: 'fixes'
    text: '## Approvals and fixes'
    tiles: [
      {
        title: 'Approvals that wait; soon: under four hours left'
        query: loadTextContent('../queries/approvals.kql')
        visualization: 'table'
        width: '50'
        none: 'Nothing waits for a decision.'
      }
      {
        title: 'Fixes by outcome'
        query: loadTextContent('../queries/fixes.kql')
        visualization: 'table'
        width: '50'
        none: 'No fix ended.'
      }
    ]
  }
  {
    name: 'machine'
    text: '## Events, calls and work'
    tiles: [
      {
        title: 'Events an hour'
        query: loadTextContent('../queries/events.kql')
        visualization: 'timechart'
        width: '33'
        none: 'No event arrived.'
      }
      {
        title: 'Calls to Azure Resource Manager an hour'
        query: loadTextContent('../queries/arm-calls.kql')
        visualization: 'timechart'
        width: '33'
        none: 'No call was made.'
      }
      {
        title: 'Calls that Azure leaves us: the lowest of 15 minutes'
        query: loadTextContent('../queries/arm-budget.kql')
        visualization: 'timechart'
        width: '33'
        none: 'No call was made.'
      }
      {
        title: 'Work, in milliseconds (spans, which may be sampled)'
        query: loadTextContent('../queries/work.kql')
        visualization: 'table'
        width: '100'
        none: 'Nothing was done.'
      }
      {
        title: 'Newest errors and warnings'
        query: loadTextContent('../queries/errors.kql')
        visualization: 'table'
        width: '100'
        none: 'None.'
      }
    ]
  }
]

var timeRange = {
  type: 9
  name: 'parameters'
  content: {
    version: 'KqlParameterItem/1.0'
    style: 'pills'
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    parameters: [
      {
        id: guid('hubwarden', 'TimeRange')
        version: 'KqlParameterItem/1.0'
        name: 'TimeRange'
        label: 'Time range'
        type: 4
        isRequired: true
        value: {
          durationMs: 86400000
        }
        typeSettings: {
          allowCustom: true
          selectableValues: map([1, 4, 24, 72, 168, 720], hours => { durationMs: hours * 3600000 })
        }
      }
    ]
  }
}

var items = flatten(map(sections, section => concat([
  {
    type: 1
    name: section.name
    content: {
      json: section.text
    }
  }
], map(section.tiles, tile => {
  type: 3
  name: tile.title
  customWidth: tile.width
  content: {
    version: 'KqlItem/1.0'
    query: tile.query
    size: 0
    title: tile.title
    noDataMessage: tile.none
    timeContext: {
      durationMs: 0
    }
    timeContextFromParameter: 'TimeRange'
    showExportToExcel: true
    queryType: 0
    resourceType: 'microsoft.operationalinsights/workspaces'
    crossComponentResources: [
      workspaceId
    ]
    visualization: tile.visualization
  }
}))))

resource workbook 'Microsoft.Insights/workbooks@2023-06-01' = {
  name: guid(resourceGroup().id, 'hubwarden')
  location: location
  tags: tags
  kind: 'shared'
  properties: {
    displayName: 'Hubwarden'
    category: 'workbook'
    version: 'Notebook/1.0'
    sourceId: workspaceId
    serializedData: string({
      version: 'Notebook/1.0'
      items: concat([timeRange], items)
      fallbackResourceIds: [workspaceId]
    })
  }
}

output workbookId string = workbook.id
