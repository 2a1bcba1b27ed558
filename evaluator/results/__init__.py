"""What people see of a result: tables, pages, comparisons, and why a target scored what it did."""
