# Makes policy.yaml where it is missing, and keeps a kill switch that is on: the twin of preprovision.sh, which says more.
$ErrorActionPreference = 'Stop'
$hook = 'preprovision'
. (Join-Path $PSScriptRoot 'common.ps1')

# `azd up` asks for it before the hooks, `azd provision` after them.
if (-not $env:AZURE_SUBSCRIPTION_ID) {
    Stop-Hook "AZURE_SUBSCRIPTION_ID is not set, so nothing was done. 'azd up' asks for it; else: azd env set AZURE_SUBSCRIPTION_ID <id>, and again."
}
if ($env:AZURE_SUBSCRIPTION_ID -notmatch '^[0-9a-fA-F-]+$') {
    Stop-Hook 'AZURE_SUBSCRIPTION_ID is no subscription id, so nothing was done.'
}

# The deployment writes all settings of the app, that one too.
function Keep-KillSwitch {
    if ($env:KILL_SWITCH -in '1', 't', 'true') {
        return
    }
    Need 'AZURE_ENV_NAME'
    Need-Az
    $group = "rg-$env:AZURE_ENV_NAME"
    $unknown = "whether the kill switch of the app in $group is on is not known (az says why above), so nothing was provisioned. 'azd env set KILL_SWITCH true' provisions with it on."

    $exists = az group exists --name $group --subscription $env:AZURE_SUBSCRIPTION_ID
    if ($LASTEXITCODE) {
        Stop-Hook $unknown
    }
    if ($exists -ne 'true') {
        return
    }
    $apps = @(az functionapp list --resource-group $group --subscription $env:AZURE_SUBSCRIPTION_ID `
            --query "[].name" --output tsv)
    if ($LASTEXITCODE) {
        Stop-Hook $unknown
    }
    foreach ($app in $apps) {
        $kill = az functionapp config appsettings list --resource-group $group --name $app `
            --subscription $env:AZURE_SUBSCRIPTION_ID --query "[?name=='HUBWARDEN_KILL'].value" --output tsv
        if ($LASTEXITCODE) {
            Stop-Hook $unknown
        }
        if ($kill -and $kill -notin '0', 'false', 'no', 'off') {
            Stop-Hook "the kill switch of $app is on, and this would turn it off, so nothing was provisioned. To keep it on: azd env set KILL_SWITCH true. To turn it off: az functionapp config appsettings set --resource-group $group --name $app --settings HUBWARDEN_KILL=0"
        }
    }
}
Keep-KillSwitch

$policy = Join-Path $root 'policy.yaml'
if (Test-Path $policy) {
    Say 'policy.yaml is there and stays as it is.'
}
else {
    $text = [IO.File]::ReadAllText((Join-Path $root 'policy.sample.yaml'))
    $text = $text.Replace('00000000-0000-0000-0000-000000000000', $env:AZURE_SUBSCRIPTION_ID)
    [IO.File]::WriteAllText("$policy.new", $text)
    Move-Item "$policy.new" $policy
    Say "made policy.yaml: it watches subscription $env:AZURE_SUBSCRIPTION_ID and only reports. Change it as you wish, then provision and deploy again."
}
