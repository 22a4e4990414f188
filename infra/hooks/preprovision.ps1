# Makes policy.yaml from policy.sample.yaml where it is missing: the twin of preprovision.sh, which says more.
$ErrorActionPreference = 'Stop'
$hook = 'preprovision'
. (Join-Path $PSScriptRoot 'common.ps1')

$policy = Join-Path $root 'policy.yaml'
if (Test-Path $policy) {
    Say 'policy.yaml is there and stays as it is.'
    exit 0
}

Need 'AZURE_SUBSCRIPTION_ID'
if ($env:AZURE_SUBSCRIPTION_ID -notmatch '^[0-9a-fA-F-]+$') {
    Stop-Hook 'AZURE_SUBSCRIPTION_ID is no subscription id, so no policy.yaml was made.'
}

$text = [IO.File]::ReadAllText((Join-Path $root 'policy.sample.yaml'))
$text = $text.Replace('00000000-0000-0000-0000-000000000000', $env:AZURE_SUBSCRIPTION_ID)
[IO.File]::WriteAllText("$policy.new", $text)
Move-Item "$policy.new" $policy
Say "made policy.yaml: it watches subscription $env:AZURE_SUBSCRIPTION_ID and only reports. Change it as you wish, then provision and deploy again."
