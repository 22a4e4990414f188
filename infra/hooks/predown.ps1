# Takes back what the service has outside its own resource group: the twin of predown.sh, which says more.
$ErrorActionPreference = 'Stop'
$hook = 'predown'
. (Join-Path $PSScriptRoot 'common.ps1')

if (-not $env:HUBWARDEN_APP_NAME) {
    Say 'HUBWARDEN_APP_NAME is not set: nothing was ever provisioned from here, so there is nothing to take back.'
    exit 0
}
Need 'AZURE_SUBSCRIPTION_ID'
Need 'AZURE_RESOURCE_GROUP'
Need 'HUBWARDEN_IDENTITY_PRINCIPAL_ID'
Need-Az

$app = $env:HUBWARDEN_APP_NAME
if ($app -cnotmatch '^hubwarden-[a-z0-9]+$') {
    Stop-Hook "HUBWARDEN_APP_NAME is '$app', which is no name that main.bicep gives, so nothing was done."
}
$left = [Collections.Generic.List[string]]::new()

function Remove-Events([string] $id) {
    $topics = @(az eventgrid system-topic list --subscription $id --query "[].[id, name, resourceGroup]" --output tsv)
    if ($LASTEXITCODE) {
        $left.Add("event subscriptions in ${id}: the system topics could not be listed")
        return
    }
    foreach ($line in $topics) {
        $topic, $name, $group = $line.Split("`t")
        $events = @(az eventgrid system-topic event-subscription list --subscription $id --resource-group $group `
                --system-topic-name $name --query "[].name" --output tsv)
        if ($LASTEXITCODE) {
            $left.Add("event subscriptions of ${topic}: they could not be listed")
            continue
        }
        if ($events -contains $app) {
            az eventgrid system-topic event-subscription delete --subscription $id --resource-group $group `
                --system-topic-name $name --name $app --yes --output none
            if ($LASTEXITCODE) {
                $left.Add("the event subscription $app of $topic")
                continue
            }
            Say "deleted the event subscription $app of $topic."
        }
        if ($name -ne "evgt-$app" -and $name -notlike "evgt-*-$app") {
            continue
        }
        if ($events | Where-Object { $_ -and $_ -ne $app }) {
            $left.Add("the system topic ${topic}: others use it, so it stays; delete it when they do not")
            continue
        }
        az eventgrid system-topic delete --subscription $id --resource-group $group --name $name --yes --output none
        if ($LASTEXITCODE) {
            $left.Add("the system topic $topic")
            continue
        }
        Say "deleted the system topic $topic."
    }
}

function Remove-Group([string] $id) {
    $exists = az group exists --name "rg-$app-events" --subscription $id
    if ($LASTEXITCODE) {
        $left.Add("the resource group rg-$app-events of ${id}: whether it is there is not known")
        return
    }
    if ($exists -ne 'true') {
        return
    }
    $held = az resource list --resource-group "rg-$app-events" --subscription $id --query "[].id" --output tsv
    if ($LASTEXITCODE) {
        $left.Add("the resource group rg-$app-events of ${id}: what is in it is not known")
        return
    }
    if ($held) {
        $left.Add("the resource group rg-$app-events of ${id}: something is in it still")
        return
    }
    az group delete --name "rg-$app-events" --subscription $id --yes --output none
    if ($LASTEXITCODE) {
        $left.Add("the resource group rg-$app-events of $id")
        return
    }
    Say "deleted the resource group rg-$app-events of $id."
}

# What lies in the service's own resource group goes with it, and the app needs it as long as it runs.
$own = "/subscriptions/$env:AZURE_SUBSCRIPTION_ID/resourceGroups/$env:AZURE_RESOURCE_GROUP/".ToLowerInvariant()

# What a management group gives is listed in each subscription below it too, and is not taken back with one.
function Test-Meant([string] $scope, [string] $id) {
    return -not $alone -or "$id/".ToLowerInvariant().StartsWith("$scope/".ToLowerInvariant())
}

# Remove-Roles SCOPE LIST: LIST are the arguments that list the assignments there.
function Remove-Roles([string] $scope, [string[]] $list) {
    $assignments = @(az role assignment list --assignee $env:HUBWARDEN_IDENTITY_PRINCIPAL_ID @list --query "[].id" --output tsv)
    if ($LASTEXITCODE) {
        $left.Add("role assignments in ${scope}: they could not be listed")
        return
    }
    foreach ($id in $assignments) {
        if ($id.ToLowerInvariant().StartsWith($own) -or -not (Test-Meant $scope $id)) {
            continue
        }
        az role assignment delete --ids $id --output none
        if ($LASTEXITCODE) {
            $left.Add("the role assignment $id")
            continue
        }
        Say "deleted the role assignment $id."
    }
    # Windows' az is a batch file, which cuts an address at its &: so the filter is handed over apart from it.
    $roles = @(az rest --method get --url "$scope/providers/Microsoft.Authorization/roleDefinitions" `
            --url-parameters 'api-version=2022-04-01' '$filter=atScopeAndBelow()' `
            --query "value[?starts_with(properties.roleName, 'hubwarden ') && contains(properties.roleName, ' $app ')].[id, properties.assignableScopes[0]]" --output tsv)
    if ($LASTEXITCODE) {
        $left.Add("custom roles in ${scope}: they could not be listed")
        return
    }
    foreach ($line in $roles) {
        $id, $assignable = $line.Split("`t")
        if (-not (Test-Meant $scope $assignable)) {
            continue
        }
        az rest --method delete --url "${id}?api-version=2022-04-01" --output none
        if ($LASTEXITCODE) {
            $left.Add("the custom role $id")
            continue
        }
        Say "deleted the custom role $id."
    }
}

$alone = [bool]$args.Count
if ($alone) {
    $ids = @($args)
    $hubs = @()
}
else {
    $ids = @($env:AZURE_SUBSCRIPTION_ID) + @(Get-Words 'HUBWARDEN_SUBSCRIPTIONS') + @(Get-Words 'EVENT_SUBSCRIPTIONS') + @(Get-Words 'HUBWARDEN_ROLE_SUBSCRIPTIONS')
    $hubs = @(Get-Words 'DEVICE_EVENT_HUBS')
}

# First, for its roles are seen from the subscriptions below it too.
if (-not $args.Count -and $env:HUBWARDEN_MANAGEMENT_GROUP) {
    $scope = "/providers/Microsoft.Management/managementGroups/$env:HUBWARDEN_MANAGEMENT_GROUP"
    Remove-Roles $scope @('--scope', $scope)
}

$seen = @()
foreach ($id in $ids) {
    $id = $id.ToLowerInvariant()
    if ($seen -contains $id) {
        continue
    }
    $seen += $id
    Remove-Events $id
    Remove-Group $id
    Remove-Roles "/subscriptions/$id" @('--all', '--subscription', $id)
}
foreach ($hub in $hubs) {
    $id = $hub.Split('/')[2].ToLowerInvariant()
    if ($seen -contains $id) {
        continue
    }
    $seen += $id
    Remove-Events $id
}

if ($left.Count) {
    $list = $left -join "`n  - "
    Stop-Hook "these are still there, so nothing else was begun:`n  - $list`nDelete them, or mend what is in the way, then do this again."
}
Say 'nothing of the service is left there.'
