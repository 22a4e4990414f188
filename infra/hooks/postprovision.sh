#!/bin/sh
# 1. Makes the vault's secrets `approval-keys` and `webhook-keys` where they are missing: 48 random bytes each, which
#    are never printed and never on a command line. What is there stays: to change keys, see docs/approvals.md.
#    The app was made before them: it is told to look again, which it would do within a day else
#    (https://learn.microsoft.com/azure/app-service/app-service-key-vault-references#understand-rotation).
# 2. Where the policy file names where logs go: gives the app its rights there (infra/destinations.bicep).
# 3. Where the policy file watches a management group: gives the app its roles on that (infra/management-group.bicep).
#
# Reads AZURE_SUBSCRIPTION_ID, and the outputs of main.bicep: AZURE_RESOURCE_GROUP, AZURE_KEY_VAULT, AZURE_FUNCTION_ID, and
# for 2 and 3 AZURE_LOCATION,
# HUBWARDEN_APP_NAME, HUBWARDEN_IDENTITY_PRINCIPAL_ID, HUBWARDEN_DESTINATIONS, HUBWARDEN_MANAGEMENT_GROUP.
set -eu
hook=postprovision
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "$0")/common.sh"

need AZURE_SUBSCRIPTION_ID
need AZURE_KEY_VAULT
need_az

tries=${HUBWARDEN_HOOK_TRIES:-30}
pause=${HUBWARDEN_HOOK_PAUSE:-10}
make_scratch

# named SECRET: it is in the vault, as Azure Resource Manager tells, which needs no way into its network.
named() {
    need AZURE_RESOURCE_GROUP
    vault="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/providers/Microsoft.KeyVault/vaults/$AZURE_KEY_VAULT"
    found=$(az rest --method get --url "$vault/secrets?api-version=2023-07-01" \
        --query "value[?name=='$1'].name" --output tsv) && [ -n "$found" ]
}

# A new right to the vault takes minutes to arrive; a closed network never opens by waiting.
present() {
    left=$tries
    until found=$(az keyvault secret list --vault-name "$AZURE_KEY_VAULT" --subscription "$AZURE_SUBSCRIPTION_ID" \
        --query "[?name=='$1'].name" --output tsv 2>"$scratch/error"); do
        if grep -q 'ForbiddenByConnection\|ForbiddenByFirewall' "$scratch/error"; then
            named "$1" && return 0
            stop "the vault $AZURE_KEY_VAULT is closed to this machine, so the secret $1 was not made. Set ALLOWED_IP_ADDRESS to your address ('azd env set'), provision again, or run 'azd hooks run $hook' inside the network."
        fi
        left=$((left - 1))
        if [ "$left" -le 0 ]; then
            cat "$scratch/error" >&2
            stop "the vault $AZURE_KEY_VAULT could not be read, so the secret $1 was not made, and the app takes no approvals over HTTP. You need the role Key Vault Secrets Officer on it (AZURE_PRINCIPAL_ID gets it); then run 'azd hooks run $hook'."
        fi
        say "waiting for the right to the vault's secrets to arrive ($left tries left)."
        sleep "$pause"
    done
    [ -n "$found" ]
}

made=
for secret in approval-keys webhook-keys; do
    if present "$secret"; then
        say "the secret $secret is there and stays as it is."
        continue
    fi
    (umask 077 && head -c 48 /dev/urandom | base64 | tr -d '\n' >"$scratch/key")
    [ "$(wc -c <"$scratch/key")" -eq 64 ] || stop "no random bytes could be had, so the secret $secret was not made."
    az keyvault secret set --vault-name "$AZURE_KEY_VAULT" --subscription "$AZURE_SUBSCRIPTION_ID" \
        --name "$secret" --file "$scratch/key" --encoding utf-8 --output none ||
        stop "the secret $secret was not made (az says why above). Run 'azd hooks run $hook' when that is mended."
    rm -f "$scratch/key"
    say "made the secret $secret."
    made=yes
done

# No reason to stop: without it the app has them within a day.
if [ -n "$made" ] && [ -n "${AZURE_FUNCTION_ID:-}" ]; then
    az rest --method post --output none \
        --url "$AZURE_FUNCTION_ID/config/configreferences/appsettings/refresh?api-version=2022-03-01" ||
        say "the app was not told of the new secrets (az says why above), and takes no approvals over HTTP until it looks by itself, within a day."
fi

if [ -n "${HUBWARDEN_DESTINATIONS:-}${HUBWARDEN_MANAGEMENT_GROUP:-}" ]; then
    need AZURE_LOCATION
    need HUBWARDEN_APP_NAME
    need HUBWARDEN_IDENTITY_PRINCIPAL_ID
fi

if [ -n "${HUBWARDEN_DESTINATIONS:-}" ]; then
    az deployment sub create --subscription "$AZURE_SUBSCRIPTION_ID" --location "$AZURE_LOCATION" \
        --name "$HUBWARDEN_APP_NAME-destinations" --template-file "$root/infra/destinations.bicep" \
        --parameters "principalId=$HUBWARDEN_IDENTITY_PRINCIPAL_ID" "appName=$HUBWARDEN_APP_NAME" --output none ||
        stop "the app has no rights where logs go (az says why above), so it cannot see or mend diagnostic settings that point there. Run 'azd hooks run $hook' when that is mended."
    say "the app has its rights where logs go: $HUBWARDEN_DESTINATIONS"
fi

if [ -n "${HUBWARDEN_MANAGEMENT_GROUP:-}" ]; then
    az deployment mg create --management-group-id "$HUBWARDEN_MANAGEMENT_GROUP" --location "$AZURE_LOCATION" \
        --name "$HUBWARDEN_APP_NAME" --template-file "$root/infra/management-group.bicep" \
        --parameters "principalId=$HUBWARDEN_IDENTITY_PRINCIPAL_ID" "appName=$HUBWARDEN_APP_NAME" --output none ||
        stop "the app has no rights on the management group $HUBWARDEN_MANAGEMENT_GROUP (az says why above), so it sees no hub there. Run 'azd hooks run $hook' when that is mended."
    say "the app has its roles on the management group $HUBWARDEN_MANAGEMENT_GROUP."
fi

[ -n "${HUBWARDEN_SUBSCRIPTIONS:-}${HUBWARDEN_MANAGEMENT_GROUP:-}" ] ||
    say "no subscription gave the app a right, so it sees no hub but where others gave it one. Where the policy file watches all: azd env set MANAGEMENT_GROUP_ID <id>, and provision again."

case ${RECOVER_VAULT:-} in
    1 | t | T | true | TRUE | True)
        say "the vault was brought back, and Azure does that only once: azd env set RECOVER_VAULT false, or the next provisioning fails with SoftDeletedVaultDoesNotExist."
        ;;
esac
