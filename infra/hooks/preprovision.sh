#!/bin/sh
# Makes policy.yaml from policy.sample.yaml where it is missing: watches the subscription of the azd environment, with
# every rule in `report`. Bicep gives rights by that file, and the app reads the same one.
set -eu
hook=preprovision
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "$0")/common.sh"

policy="$root/policy.yaml"
if [ -e "$policy" ]; then
    say "policy.yaml is there and stays as it is."
    exit 0
fi

need AZURE_SUBSCRIPTION_ID
case $AZURE_SUBSCRIPTION_ID in
    *[!0-9a-fA-F-]*) stop "AZURE_SUBSCRIPTION_ID is no subscription id, so no policy.yaml was made." ;;
esac

sed "s/00000000-0000-0000-0000-000000000000/$AZURE_SUBSCRIPTION_ID/" "$root/policy.sample.yaml" >"$policy.new"
mv "$policy.new" "$policy"
say "made policy.yaml: it watches subscription $AZURE_SUBSCRIPTION_ID and only reports. Change it as you wish, then provision and deploy again."
