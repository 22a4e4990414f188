"""The app's own storage: findings and hubs in tables, work in queues, audit and unusable messages in blobs."""
