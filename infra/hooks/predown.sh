#!/bin/sh
# Takes back what the service has outside its own resource group, which 'azd down' does not know of. In every
# subscription that was watched, and in the management group where there was one:
#   - event subscriptions named HUBWARDEN_APP_NAME, the system topics 'evgt-…HUBWARDEN_APP_NAME' that nobody else
#     uses, and the resource group 'rg-HUBWARDEN_APP_NAME-events';
#   - role assignments of the app's identity, and the custom roles 'hubwarden … HUBWARDEN_APP_NAME …' of the templates.
# With ids of subscriptions as arguments it does so in these alone: for one that was taken out of the policy file, as no
# deployment takes away what it does not name. `eval "$(azd env get-values | sed 's/^/export /')"` gives it what it reads.
#
# Reads AZURE_SUBSCRIPTION_ID, the outputs of main.bicep and the choices of postdeploy.sh.
# Nothing of a hub is touched. If you stop 'azd down' after this, the app runs on but sees no hub: 'azd up' mends that.
set -eu
hook=predown
# shellcheck source-path=SCRIPTDIR source=common.sh
. "$(dirname -- "$0")/common.sh"

if [ -z "${HUBWARDEN_APP_NAME:-}" ]; then
    say "HUBWARDEN_APP_NAME is not set: nothing was ever provisioned from here, so there is nothing to take back."
    exit 0
fi
need AZURE_SUBSCRIPTION_ID
need AZURE_RESOURCE_GROUP
need HUBWARDEN_IDENTITY_PRINCIPAL_ID
need_az

app=$HUBWARDEN_APP_NAME
case ${app#hubwarden-} in
    "$app" | '' | *[!a-z0-9]*) stop "HUBWARDEN_APP_NAME is '$app', which is no name that main.bicep gives, so nothing was done." ;;
esac
left=
make_scratch

# failed WHAT: goes on with the rest, and says it at the end.
failed() {
    left="$left
  - $1"
}

# events_of SUBSCRIPTION
events_of() {
    az eventgrid system-topic list --subscription "$1" --query "[].[id, name, resourceGroup]" --output tsv >"$scratch/topics" || {
        failed "event subscriptions in $1: the system topics could not be listed"
        return
    }
    while IFS='	' read -r topic name group; do
        az eventgrid system-topic event-subscription list --subscription "$1" --resource-group "$group" \
            --system-topic-name "$name" --query "[].name" --output tsv >"$scratch/events" </dev/null || {
            failed "event subscriptions of $topic: they could not be listed"
            continue
        }
        if grep -qx "$app" "$scratch/events"; then
            az eventgrid system-topic event-subscription delete --subscription "$1" --resource-group "$group" \
                --system-topic-name "$name" --name "$app" --yes --output none </dev/null || {
                failed "the event subscription $app of $topic"
                continue
            }
            say "deleted the event subscription $app of $topic."
        fi
        case $name in
            evgt-"$app" | evgt-*-"$app") ;;
            *) continue ;;
        esac
        if grep -qvx "$app" "$scratch/events"; then
            failed "the system topic $topic: others use it, so it stays; delete it when they do not"
            continue
        fi
        az eventgrid system-topic delete --subscription "$1" --resource-group "$group" --name "$name" --yes --output none </dev/null || {
            failed "the system topic $topic"
            continue
        }
        say "deleted the system topic $topic."
    done <"$scratch/topics"
}

# group_of SUBSCRIPTION
group_of() {
    exists=$(az group exists --name "rg-$app-events" --subscription "$1") || {
        failed "the resource group rg-$app-events of $1: whether it is there is not known"
        return
    }
    [ "$exists" = true ] || return 0
    held=$(az resource list --resource-group "rg-$app-events" --subscription "$1" --query "[].id" --output tsv) || {
        failed "the resource group rg-$app-events of $1: what is in it is not known"
        return
    }
    if [ -n "$held" ]; then
        failed "the resource group rg-$app-events of $1: something is in it still"
        return
    fi
    az group delete --name "rg-$app-events" --subscription "$1" --yes --output none || {
        failed "the resource group rg-$app-events of $1"
        return
    }
    say "deleted the resource group rg-$app-events of $1."
}

# What lies in the service's own resource group goes with it, and the app needs it as long as it runs.
home="/subscriptions/$AZURE_SUBSCRIPTION_ID/resourceGroups/$AZURE_RESOURCE_GROUP/"

# meant ID: what a management group gives is listed in each subscription below it too, and is not taken back with one.
meant() {
    [ -n "$alone" ] || return 0
    case "$(lower "$1")/" in
        "$(lower "$scope")"/*) return 0 ;;
    esac
    return 1
}

# roles_of SCOPE LIST…: LIST are the arguments that list the assignments there.
roles_of() {
    scope=$1
    shift
    az role assignment list --assignee "$HUBWARDEN_IDENTITY_PRINCIPAL_ID" "$@" --query "[].id" --output tsv >"$scratch/assignments" || {
        failed "role assignments in $scope: they could not be listed"
        return
    }
    while read -r id; do
        case $(lower "$id") in
            "$(lower "$home")"*) continue ;;
        esac
        meant "$id" || continue
        az role assignment delete --ids "$id" --output none </dev/null || {
            failed "the role assignment $id"
            continue
        }
        say "deleted the role assignment $id."
    done <"$scratch/assignments"
    # shellcheck disable=SC2016 # the filter is named so
    az rest --method get --url "$scope/providers/Microsoft.Authorization/roleDefinitions" \
        --url-parameters 'api-version=2022-04-01' '$filter=atScopeAndBelow()' \
        --query "value[?starts_with(properties.roleName, 'hubwarden ') && contains(properties.roleName, ' $app ')].[id, properties.assignableScopes[0]]" --output tsv >"$scratch/roles" || {
        failed "custom roles in $scope: they could not be listed"
        return
    }
    while IFS='	' read -r id assignable; do
        meant "$assignable" || continue
        az rest --method delete --url "$id?api-version=2022-04-01" --output none </dev/null || {
            failed "the custom role $id"
            continue
        }
        say "deleted the custom role $id."
    done <"$scratch/roles"
}

if [ "$#" -gt 0 ]; then
    alone=yes
    ids=$*
    hubs=
else
    alone=
    ids="$AZURE_SUBSCRIPTION_ID ${HUBWARDEN_SUBSCRIPTIONS:-} ${EVENT_SUBSCRIPTIONS:-} ${HUBWARDEN_ROLE_SUBSCRIPTIONS:-}"
    hubs=${DEVICE_EVENT_HUBS:-}
fi

# First, for its roles are seen from the subscriptions below it too.
if [ "$#" -eq 0 ] && [ -n "${HUBWARDEN_MANAGEMENT_GROUP:-}" ]; then
    group="/providers/Microsoft.Management/managementGroups/$HUBWARDEN_MANAGEMENT_GROUP"
    roles_of "$group" --scope "$group"
fi

seen=
for id in $ids; do
    id=$(lower "$id")
    case " $seen " in
        *" $id "*) continue ;;
    esac
    seen="$seen $id"
    events_of "$id"
    group_of "$id"
    roles_of "/subscriptions/$id" --all --subscription "$id"
done
for hub in $hubs; do
    id=$(lower "$(printf '%s' "$hub" | cut -d / -f 3)")
    case " $seen " in
        *" $id "*) continue ;;
    esac
    seen="$seen $id"
    events_of "$id"
done

[ -z "$left" ] ||
    stop "these are still there, so nothing else was begun:$left
Delete them, or mend what is in the way, then do this again."
say "nothing of the service is left there."
