// An optional network. The app goes out through one subnet; storage and vault have private endpoints in another.

@description('Region.')
param location string

@description('Tags of every resource.')
param tags object

@description('Unique token of the app, for names.')
param appName string

@description('The network\'s addresses. A /24 is enough: the app gets its first half, the endpoints its last quarter.')
param addressPrefix string

@description('Give the app one fixed outgoing address (a NAT gateway), for whoever filters by address.')
param fixedAddress bool

@description('Id of the storage account.')
param storageId string

@description('Id of the vault.')
param vaultId string

// The zones have the names that the clients' DNS is sent to: https://learn.microsoft.com/azure/private-link/private-endpoint-dns
var endpoints = [
  {
    group: 'blob'
    target: storageId
    zone: 'privatelink.blob.${environment().suffixes.storage}'
  }
  {
    group: 'queue'
    target: storageId
    zone: 'privatelink.queue.${environment().suffixes.storage}'
  }
  {
    group: 'table'
    target: storageId
    zone: 'privatelink.table.${environment().suffixes.storage}'
  }
  {
    group: 'vault'
    target: vaultId
    zone: 'privatelink${replace(environment().suffixes.keyvaultDns, '.vault.', '.vaultcore.')}'
  }
]

resource address 'Microsoft.Network/publicIPAddresses@2024-07-01' = if (fixedAddress) {
  name: 'pip-${appName}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIPAllocationMethod: 'Static'
  }
}

resource gateway 'Microsoft.Network/natGateways@2024-07-01' = if (fixedAddress) {
  name: 'ng-${appName}'
  location: location
  tags: tags
  sku: {
    name: 'Standard'
  }
  properties: {
    publicIpAddresses: [
      {
        id: address.id
      }
    ]
  }
}

resource network 'Microsoft.Network/virtualNetworks@2024-07-01' = {
  name: 'vnet-${appName}'
  location: location
  tags: tags
  properties: {
    addressSpace: {
      addressPrefixes: [
        addressPrefix
      ]
    }
    subnets: [
      {
        name: 'app'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 25, 0)
          // The app must get out to Azure Resource Manager. New networks' subnets are private unless they say otherwise:
          // https://learn.microsoft.com/azure/virtual-network/ip-services/default-outbound-access
          defaultOutboundAccess: true
          natGateway: fixedAddress ? { id: gateway.id } : null
          delegations: [
            {
              name: 'functions'
              properties: {
                serviceName: 'Microsoft.App/environments'
              }
            }
          ]
        }
      }
      {
        name: 'endpoints'
        properties: {
          addressPrefix: cidrSubnet(addressPrefix, 26, 3)
          privateEndpointNetworkPolicies: 'Disabled'
        }
      }
    ]
  }
}

resource appSubnet 'Microsoft.Network/virtualNetworks/subnets@2024-07-01' existing = {
  parent: network
  name: 'app'
}

resource endpointSubnet 'Microsoft.Network/virtualNetworks/subnets@2024-07-01' existing = {
  parent: network
  name: 'endpoints'
}

resource zones 'Microsoft.Network/privateDnsZones@2024-06-01' = [for endpoint in endpoints: {
  name: endpoint.zone
  location: 'global'
  tags: tags
}]

resource links 'Microsoft.Network/privateDnsZones/virtualNetworkLinks@2024-06-01' = [for (endpoint, i) in endpoints: {
  parent: zones[i]
  name: network.name
  location: 'global'
  tags: tags
  properties: {
    registrationEnabled: false
    virtualNetwork: {
      id: network.id
    }
  }
}]

resource privateEndpoints 'Microsoft.Network/privateEndpoints@2024-07-01' = [for endpoint in endpoints: {
  name: 'pe-${endpoint.group}-${appName}'
  location: location
  tags: tags
  properties: {
    subnet: {
      id: endpointSubnet.id
    }
    privateLinkServiceConnections: [
      {
        name: endpoint.group
        properties: {
          privateLinkServiceId: endpoint.target
          groupIds: [
            endpoint.group
          ]
        }
      }
    ]
  }
}]

resource zoneGroups 'Microsoft.Network/privateEndpoints/privateDnsZoneGroups@2024-07-01' = [for (endpoint, i) in endpoints: {
  parent: privateEndpoints[i]
  name: 'default'
  properties: {
    privateDnsZoneConfigs: [
      {
        name: endpoint.group
        properties: {
          privateDnsZoneId: zones[i].id
        }
      }
    ]
  }
  dependsOn: [
    links[i]
  ]
}]

output appSubnetId string = appSubnet.id
output outgoingAddress string = fixedAddress ? address!.properties.ipAddress : ''
