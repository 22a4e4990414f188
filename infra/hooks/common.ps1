# What the hooks share: the twin of common.sh. Dot-sourced; whoever does it sets $hook first.

$root = (Resolve-Path (Join-Path $PSScriptRoot '../..')).Path
$PSNativeCommandUseErrorActionPreference = $false

function Say([string] $text) {
    Write-Host "hubwarden ${hook}: $text"
}

function Stop-Hook([string] $text) {
    [Console]::Error.WriteLine("hubwarden ${hook}: $text")
    exit 1
}

function Get-Setting([string] $name) {
    return [Environment]::GetEnvironmentVariable($name)
}

# Get-Number NAME DEFAULT
function Get-Number([string] $name, [int] $default) {
    $text = Get-Setting $name
    if ($text) {
        return [int]$text
    }
    return $default
}

# Need NAME: the azd environment must have it.
function Need([string] $name) {
    if (-not (Get-Setting $name)) {
        Stop-Hook "$name is not set, so nothing was done. azd sets it (run 'azd provision' first); without azd, export it: docs/deploy.md says how."
    }
}

function Need-Az {
    if (-not (Get-Command az -ErrorAction SilentlyContinue)) {
        Stop-Hook "the Azure CLI (az) is not on the PATH, so nothing was done. Install it (https://aka.ms/azcli), run 'az login', then 'azd hooks run $hook'."
    }
    az account show --output none 2>$null
    if ($LASTEXITCODE) {
        Stop-Hook "az is not signed in, so nothing was done. Run 'az login', then 'azd hooks run $hook'."
    }
}

# Get-Words NAME: what the azd environment has under that name, apart at its spaces.
function Get-Words([string] $name) {
    return @(([string](Get-Setting $name)) -split '\s+' | Where-Object { $_ })
}

# A folder that nobody else reads: its parent is the user's own.
function New-Scratch {
    $folder = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    New-Item -ItemType Directory -Path $folder | Out-Null
    return $folder
}
