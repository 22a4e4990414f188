#!/bin/sh
# Subscribes the app's functions to events (infra/events.bicep). Not before the code is there: Event Grid subscribes no
# function that does not exist, so this waits until Azure lists them.
#
# Reads AZURE_SUBSCRIPTION_ID and the outputs of main.bicep (AZURE_LOCATION, AZURE_RESOURCE_GROUP, AZURE_FUNCTION_NAME,
# AZURE_STORAGE_ACCOUNT, HUBWARDEN_APP_NAME, HUBWARDEN_SUBSCRIPTIONS), and what you choose:
# EVENT_SUBSCRIPTIONS  ids, with spaces between: subscriptions to get events of where the policy file says `all`. Else
#                      they are those of the policy file.
# DEVICE_EVENT_HUBS    ids of hubs, with spaces between, of which new devices are looked at within seconds.
set -eu
hook=postdeploy
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "$0")/common.sh"

for name in AZURE_SUBSCRIPTION_ID AZURE_LOCATION AZURE_RESOURCE_GROUP AZURE_FUNCTION_NAME AZURE_STORAGE_ACCOUNT HUBWARDEN_APP_NAME; do
    need "$name"
done
need_az

tries=${HUBWARDEN_HOOK_TRIES:-30}
pause=${HUBWARDEN_HOOK_PAUSE:-10}
make_scratch

listed() {
    az functionapp function list --resource-group "$AZURE_RESOURCE_GROUP" --name "$AZURE_FUNCTION_NAME" \
        --subscription "$AZURE_SUBSCRIPTION_ID" --query "[].name" --output tsv 2>"$scratch/error" >"$scratch/functions" &&
        grep -q '/on_azure_event$' "$scratch/functions" && grep -q '/on_device_event$' "$scratch/functions"
}

until listed; do
    tries=$((tries - 1))
    if [ "$tries" -le 0 ]; then
        cat "$scratch/error" >&2
        stop "Azure does not list the functions of $AZURE_FUNCTION_NAME, so they were not subscribed to events: changes are found by the sweep only. See the app's log stream for why it does not start, then run 'azd hooks run $hook'."
    fi
    say "waiting for the functions to be listed ($tries tries left)."
    sleep "$pause"
done

subscriptions=${HUBWARDEN_SUBSCRIPTIONS:-${EVENT_SUBSCRIPTIONS:-}}
hubs=${DEVICE_EVENT_HUBS:-}
[ -n "$subscriptions" ] ||
    say "no subscription is connected: changes are found by the sweep only. Where the policy file watches all, set EVENT_SUBSCRIPTIONS to the ids of those whose changes are to be seen within seconds."

# json WORD…: a JSON array. Ids hold nothing that JSON would want escaped; whatever does is refused.
json() {
    array=
    for word in "$@"; do
        case $word in
            *[!A-Za-z0-9._/\(\)-]*) stop "'$word' is no id, so nothing was subscribed to events." ;;
        esac
        array="$array${array:+, }\"$word\""
    done
    printf '[%s]' "$array"
}

# Others' system topics: Azure allows one for a source. Ours are made by the template.
sources=
for id in $subscriptions; do
    sources="$sources /subscriptions/$id"
done
topics=
seen=
for source in $sources $hubs; do
    subscription=$(printf '%s' "$source" | cut -d / -f 3)
    case " $seen " in
        *" $subscription "*) ;;
        *)
            az eventgrid system-topic list --subscription "$subscription" \
                --query "[].[id, source, identity.principalId]" --output tsv >>"$scratch/topics" ||
                stop "the system topics of subscription $subscription could not be listed (az says why above; is the provider Microsoft.EventGrid registered there?), so nothing was subscribed to events. Run 'azd hooks run $hook' when that is mended."
            seen="$seen $subscription"
            ;;
    esac
    source=$(lower "$source")
    # shellcheck disable=SC2016 # awk's own variables
    match=$(awk -F '\t' -v source="$source" -v app="-$HUBWARDEN_APP_NAME" \
        'tolower($2) == source && substr($1, length($1) - length(app) + 1) != app { print $1 "\t" $3; exit }' "$scratch/topics")
    [ -n "$match" ] || continue
    topic=$(printf '%s' "$match" | cut -f 1)
    case $(printf '%s' "$match" | cut -f 2) in
        '' | None)
            group=$(printf '%s' "$topic" | cut -d / -f 5)
            name=$(printf '%s' "$topic" | cut -d / -f 9)
            stop "$source has the system topic $topic already, which has no identity to leave undeliverable events with, so nothing was subscribed to events. Give it one: az eventgrid system-topic update --subscription $subscription --resource-group $group --name $name --identity systemassigned"
            ;;
    esac
    say "$source has a system topic already, which is used: $topic"
    topics="$topics${topics:+, }\"$source\": \"$topic\""
done

# shellcheck disable=SC2086 # lists of words
ids=$(json $subscriptions)
# shellcheck disable=SC2086
hub_ids=$(json $hubs)
cat >"$scratch/parameters.json" <<END
{
  "\$schema": "https://schema.management.azure.com/schemas/2019-04-01/deploymentParameters.json#",
  "contentVersion": "1.0.0.0",
  "parameters": {
    "location": {"value": "$AZURE_LOCATION"},
    "appName": {"value": "$HUBWARDEN_APP_NAME"},
    "resourceGroupName": {"value": "$AZURE_RESOURCE_GROUP"},
    "functionAppName": {"value": "$AZURE_FUNCTION_NAME"},
    "storageAccountName": {"value": "$AZURE_STORAGE_ACCOUNT"},
    "eventSubscriptionIds": {"value": $ids},
    "deviceEventHubs": {"value": $hub_ids},
    "existingSystemTopics": {"value": {$topics}}
  }
}
END

deploy() {
    az deployment sub create --name "$HUBWARDEN_APP_NAME-events" --location "$AZURE_LOCATION" \
        --subscription "$AZURE_SUBSCRIPTION_ID" --template-file "$root/infra/events.bicep" \
        --parameters "@$scratch/parameters.json" --output none
}

if ! deploy; then
    say "once more in a while: a topic's new right to the dead letters takes minutes to arrive."
    sleep $((pause * 6))
    deploy || stop "the functions were not subscribed to events (az says why above): changes are found by the sweep only. Run 'azd hooks run $hook' when that is mended."
fi
say "the functions are subscribed to events."
