"""Its being here lets the tests in the folders below import `regression_models`."""
