# Subscribes the app's functions to events: the twin of postdeploy.sh, which says more.
$ErrorActionPreference = 'Stop'
$hook = 'postdeploy'
. (Join-Path $PSScriptRoot 'common.ps1')

foreach ($name in 'AZURE_SUBSCRIPTION_ID', 'AZURE_LOCATION', 'AZURE_RESOURCE_GROUP', 'AZURE_FUNCTION_NAME', 'AZURE_STORAGE_ACCOUNT', 'HUBWARDEN_APP_NAME') {
    Need $name
}
Need-Az

$tries = Get-Number 'HUBWARDEN_HOOK_TRIES' 30
$pause = Get-Number 'HUBWARDEN_HOOK_PAUSE' 10
$scratch = New-Scratch

function Test-Listed {
    $functions = @(az functionapp function list --resource-group $env:AZURE_RESOURCE_GROUP --name $env:AZURE_FUNCTION_NAME `
            --subscription $env:AZURE_SUBSCRIPTION_ID --query "[].name" --output tsv 2>"$scratch/error")
    return -not $LASTEXITCODE -and ($functions -match '/on_azure_event$') -and ($functions -match '/on_device_event$')
}

function Publish-Events {
    az deployment sub create --name "$env:HUBWARDEN_APP_NAME-events" --location $env:AZURE_LOCATION `
        --subscription $env:AZURE_SUBSCRIPTION_ID --template-file "$root/infra/events.bicep" `
        --parameters "@$scratch/parameters.json" --output none
    return -not $LASTEXITCODE
}

# Ids hold nothing that a parameter file would want escaped; whatever does is refused.
function Confirm-Ids([string[]] $ids) {
    foreach ($word in $ids) {
        if ($word -notmatch '^[A-Za-z0-9._/()-]+$') {
            Stop-Hook "'$word' is no id, so nothing was subscribed to events."
        }
    }
}

try {
    while (-not (Test-Listed)) {
        $tries--
        if ($tries -le 0) {
            [Console]::Error.WriteLine((Get-Content -Raw "$scratch/error"))
            Stop-Hook "Azure does not list the functions of $env:AZURE_FUNCTION_NAME, so they were not subscribed to events: changes are found by the sweep only. See the app's log stream for why it does not start, then run 'azd hooks run $hook'."
        }
        Say "waiting for the functions to be listed ($tries tries left)."
        Start-Sleep -Seconds $pause
    }

    $subscriptions = @(Get-Words 'HUBWARDEN_SUBSCRIPTIONS')
    if (-not $subscriptions) {
        $subscriptions = @(Get-Words 'EVENT_SUBSCRIPTIONS')
    }
    $hubs = @(Get-Words 'DEVICE_EVENT_HUBS')
    if (-not $subscriptions) {
        Say 'no subscription is connected: changes are found by the sweep only. Where the policy file watches all, set EVENT_SUBSCRIPTIONS to the ids of those whose changes are to be seen within seconds.'
    }
    Confirm-Ids $subscriptions
    Confirm-Ids $hubs

    # Others' system topics: Azure allows one for a source. Ours are made by the template.
    $topics = @{}
    $known = @{}
    foreach ($source in @($subscriptions | ForEach-Object { "/subscriptions/$_" }) + @($hubs)) {
        $subscription = $source.Split('/')[2]
        if (-not $known.ContainsKey($subscription)) {
            $known[$subscription] = @(az eventgrid system-topic list --subscription $subscription `
                    --query "[].[id, source, identity.principalId]" --output tsv)
            if ($LASTEXITCODE) {
                Stop-Hook "the system topics of subscription $subscription could not be listed (az says why above; is the provider Microsoft.EventGrid registered there?), so nothing was subscribed to events. Run 'azd hooks run $hook' when that is mended."
            }
        }
        $source = $source.ToLowerInvariant()
        foreach ($line in $known[$subscription]) {
            $topic, $of, $identity = $line.Split("`t")
            if ($of.ToLowerInvariant() -ne $source -or $topic.EndsWith("-$env:HUBWARDEN_APP_NAME")) {
                continue
            }
            if (-not $identity -or $identity -eq 'None') {
                $group = $topic.Split('/')[4]
                $name = $topic.Split('/')[8]
                Stop-Hook "$source has the system topic $topic already, which has no identity to leave undeliverable events with, so nothing was subscribed to events. Give it one: az eventgrid system-topic update --subscription $subscription --resource-group $group --name $name --identity systemassigned"
            }
            Say "$source has a system topic already, which is used: $topic"
            $topics[$source] = $topic
            break
        }
    }

    @{
        '$schema'      = 'https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#'
        contentVersion = '1.0.0.0'
        parameters     = @{
            location             = @{ value = $env:AZURE_LOCATION }
            appName              = @{ value = $env:HUBWARDEN_APP_NAME }
            resourceGroupName    = @{ value = $env:AZURE_RESOURCE_GROUP }
            functionAppName      = @{ value = $env:AZURE_FUNCTION_NAME }
            storageAccountName   = @{ value = $env:AZURE_STORAGE_ACCOUNT }
            eventSubscriptionIds = @{ value = @($subscriptions) }
            deviceEventHubs      = @{ value = @($hubs) }
            existingSystemTopics = @{ value = $topics }
        }
    } | ConvertTo-Json -Depth 5 | Set-Content "$scratch/parameters.json"

    if (-not (Publish-Events)) {
        Say "once more in a while: a topic's new right to the dead letters takes minutes to arrive."
        Start-Sleep -Seconds ($pause * 6)
        if (-not (Publish-Events)) {
            Stop-Hook "the functions were not subscribed to events (az says why above): changes are found by the sweep only. Run 'azd hooks run $hook' when that is mended."
        }
    }
    Say 'the functions are subscribed to events.'
}
finally {
    Remove-Item -Recurse -Force $scratch
}
