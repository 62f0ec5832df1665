"""A tenant in a box: takes subscriptions and actions, sends signed notifications, keeps what failed."""
