#!/bin/sh
# 1. Makes policy.yaml from policy.sample.yaml where it is missing: watches the subscription of the azd environment, with
#    every rule in `report`. Bicep gives rights by that file, and the app reads the same one.
# 2. Stops where somebody has set the app's kill switch by hand (HUBWARDEN_KILL) and this deployment would unset it.
set -eu
hook=preprovision
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "$0")/common.sh"

# `azd up` asks for it before the hooks, `azd provision` after them.
[ -n "${AZURE_SUBSCRIPTION_ID:-}" ] ||
    stop "AZURE_SUBSCRIPTION_ID is not set, so nothing was done. 'azd up' asks for it; else: azd env set AZURE_SUBSCRIPTION_ID <id>, and again."
case $AZURE_SUBSCRIPTION_ID in
    *[!0-9a-fA-F-]*) stop "AZURE_SUBSCRIPTION_ID is no subscription id, so nothing was done." ;;
esac

# The deployment writes all settings of the app, that one too.
keep_kill_switch() {
    case ${KILL_SWITCH:-} in
        1 | t | T | true | TRUE | True) return ;;
    esac
    need AZURE_ENV_NAME
    need_az
    group="rg-$AZURE_ENV_NAME"
    unknown="whether the kill switch of the app in $group is on is not known (az says why above), so nothing was provisioned. 'azd env set KILL_SWITCH true' provisions with it on."

    exists=$(az group exists --name "$group" --subscription "$AZURE_SUBSCRIPTION_ID") || stop "$unknown"
    [ "$exists" = true ] || return 0
    apps=$(az functionapp list --resource-group "$group" --subscription "$AZURE_SUBSCRIPTION_ID" \
        --query "[].name" --output tsv) || stop "$unknown"
    for app in $apps; do
        kill=$(az functionapp config appsettings list --resource-group "$group" --name "$app" \
            --subscription "$AZURE_SUBSCRIPTION_ID" --query "[?name=='HUBWARDEN_KILL'].value" --output tsv) || stop "$unknown"
        case $(lower "$kill") in
            '' | 0 | false | no | off) ;;
            *) stop "the kill switch of $app is on, and this would turn it off, so nothing was provisioned. To keep it on: azd env set KILL_SWITCH true. To turn it off: az functionapp config appsettings set --resource-group $group --name $app --settings HUBWARDEN_KILL=0" ;;
        esac
    done
}
keep_kill_switch

policy="$root/policy.yaml"
if [ -e "$policy" ]; then
    say "policy.yaml is there and stays as it is."
else
    sed "s/00000000-0000-0000-0000-000000000000/$AZURE_SUBSCRIPTION_ID/" "$root/policy.sample.yaml" >"$policy.new"
    mv "$policy.new" "$policy"
    say "made policy.yaml: it watches subscription $AZURE_SUBSCRIPTION_ID and only reports. Change it as you wish, then provision and deploy again."
fi
