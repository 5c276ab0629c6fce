"""Stage, by cluster: findings grouped into incidents, who may have done it, what was touched, what it cost, and the report of it."""
