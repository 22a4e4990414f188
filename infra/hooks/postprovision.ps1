# Makes the vault's secrets and a management group's roles: the twin of postprovision.sh, which says more.
$ErrorActionPreference = 'Stop'
$hook = 'postprovision'
. (Join-Path $PSScriptRoot 'common.ps1')

Need 'AZURE_SUBSCRIPTION_ID'
Need 'AZURE_KEY_VAULT'
Need-Az

$tries = Get-Number 'HUBWARDEN_HOOK_TRIES' 30
$pause = Get-Number 'HUBWARDEN_HOOK_PAUSE' 10
$scratch = New-Scratch

# The secret is in the vault, as Azure Resource Manager tells, which needs no way into its network.
function Test-Named([string] $secret) {
    Need 'AZURE_RESOURCE_GROUP'
    $vault = "/subscriptions/$env:AZURE_SUBSCRIPTION_ID/resourceGroups/$env:AZURE_RESOURCE_GROUP/providers/Microsoft.KeyVault/vaults/$env:AZURE_KEY_VAULT"
    $found = az rest --method get --url "$vault/secrets?api-version=2023-07-01" `
        --query "value[?name=='$secret'].name" --output tsv
    return -not $LASTEXITCODE -and [bool]$found
}

# A new right to the vault takes minutes to arrive; a closed network never opens by waiting.
function Test-Secret([string] $secret) {
    for ($left = $tries; ; ) {
        $found = az keyvault secret list --vault-name $env:AZURE_KEY_VAULT --subscription $env:AZURE_SUBSCRIPTION_ID `
            --query "[?name=='$secret'].name" --output tsv 2>"$scratch/error"
        if (-not $LASTEXITCODE) {
            return [bool]$found
        }
        if (Select-String -Quiet -Pattern 'ForbiddenByConnection|ForbiddenByFirewall' -Path "$scratch/error") {
            if (Test-Named $secret) {
                return $true
            }
            Stop-Hook "the vault $env:AZURE_KEY_VAULT is closed to this machine, so the secret $secret was not made. Set ALLOWED_IP_ADDRESS to your address ('azd env set'), provision again, or run 'azd hooks run $hook' inside the network."
        }
        $left--
        if ($left -le 0) {
            [Console]::Error.WriteLine((Get-Content -Raw "$scratch/error"))
            Stop-Hook "the vault $env:AZURE_KEY_VAULT could not be read, so the secret $secret was not made, and the app takes no approvals over HTTP. You need the role Key Vault Secrets Officer on it (AZURE_PRINCIPAL_ID gets it); then run 'azd hooks run $hook'."
        }
        Say "waiting for the right to the vault's secrets to arrive ($left tries left)."
        Start-Sleep -Seconds $pause
    }
}

$made = $false
try {
    foreach ($secret in 'approval-keys', 'webhook-keys') {
        if (Test-Secret $secret) {
            Say "the secret $secret is there and stays as it is."
            continue
        }
        $key = [Convert]::ToBase64String([Security.Cryptography.RandomNumberGenerator]::GetBytes(48))
        [IO.File]::WriteAllText("$scratch/key", $key)
        az keyvault secret set --vault-name $env:AZURE_KEY_VAULT --subscription $env:AZURE_SUBSCRIPTION_ID `
            --name $secret --file "$scratch/key" --encoding utf-8 --output none
        if ($LASTEXITCODE) {
            Stop-Hook "the secret $secret was not made (az says why above). Run 'azd hooks run $hook' when that is mended."
        }
        Remove-Item "$scratch/key"
        Say "made the secret $secret."
        $made = $true
    }

    if ($made -and $env:AZURE_FUNCTION_ID) {
        az rest --method post --output none `
            --url "$env:AZURE_FUNCTION_ID/config/configreferences/appsettings/refresh?api-version=2022-03-01"
        if ($LASTEXITCODE) {
            Say "the app was not told of the new secrets (az says why above), and takes no approvals over HTTP until it looks by itself, within a day."
        }
    }

    if ($env:HUBWARDEN_DESTINATIONS -or $env:HUBWARDEN_MANAGEMENT_GROUP) {
        Need 'AZURE_LOCATION'
        Need 'HUBWARDEN_APP_NAME'
        Need 'HUBWARDEN_IDENTITY_PRINCIPAL_ID'
    }

    if ($env:HUBWARDEN_DESTINATIONS) {
        az deployment sub create --subscription $env:AZURE_SUBSCRIPTION_ID --location $env:AZURE_LOCATION `
            --name "$env:HUBWARDEN_APP_NAME-destinations" --template-file "$root/infra/destinations.bicep" `
            --parameters "principalId=$env:HUBWARDEN_IDENTITY_PRINCIPAL_ID" "appName=$env:HUBWARDEN_APP_NAME" --output none
        if ($LASTEXITCODE) {
            Stop-Hook "the app has no rights where logs go (az says why above), so it cannot see or mend diagnostic settings that point there. Run 'azd hooks run $hook' when that is mended."
        }
        Say "the app has its rights where logs go: $env:HUBWARDEN_DESTINATIONS"
    }

    if ($env:HUBWARDEN_MANAGEMENT_GROUP) {
        az deployment mg create --management-group-id $env:HUBWARDEN_MANAGEMENT_GROUP --location $env:AZURE_LOCATION `
            --name $env:HUBWARDEN_APP_NAME --template-file "$root/infra/management-group.bicep" `
            --parameters "principalId=$env:HUBWARDEN_IDENTITY_PRINCIPAL_ID" "appName=$env:HUBWARDEN_APP_NAME" --output none
        if ($LASTEXITCODE) {
            Stop-Hook "the app has no rights on the management group $env:HUBWARDEN_MANAGEMENT_GROUP (az says why above), so it sees no hub there. Run 'azd hooks run $hook' when that is mended."
        }
        Say "the app has its roles on the management group $env:HUBWARDEN_MANAGEMENT_GROUP."
    }

    if (-not $env:HUBWARDEN_SUBSCRIPTIONS -and -not $env:HUBWARDEN_MANAGEMENT_GROUP) {
        Say "no subscription gave the app a right, so it sees no hub but where others gave it one. Where the policy file watches all: azd env set MANAGEMENT_GROUP_ID <id>, and provision again."
    }

    if ($env:RECOVER_VAULT -in '1', 't', 'true') {
        Say "the vault was brought back, and Azure does that only once: azd env set RECOVER_VAULT false, or the next provisioning fails with SoftDeletedVaultDoesNotExist."
    }
}
finally {
    Remove-Item -Recurse -Force $scratch
}
