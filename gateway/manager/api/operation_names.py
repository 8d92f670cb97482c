"""The names of the operations that are answered, in logs and metrics as well. Performs nothing."""

EDGE_OPERATIONS = ("SendHeartbeat", "GetDeployments", "GetDeviceRegistration")
"""Of `sagemaker-edge`."""
CONTROL_OPERATIONS = frozenset(
    {
        *("CreateDeviceFleet", "DescribeDeviceFleet", "UpdateDeviceFleet", "DeleteDeviceFleet", "ListDeviceFleets"),
        *("GetDeviceFleetReport", "ListTags", "AddTags", "DeleteTags"),
        *("RegisterDevices", "UpdateDevices", "DeregisterDevices", "DescribeDevice", "ListDevices"),
        *("CreateEdgePackagingJob", "DescribeEdgePackagingJob", "ListEdgePackagingJobs", "StopEdgePackagingJob"),
        *("CreateCompilationJob", "DescribeCompilationJob", "ListCompilationJobs"),
        *("StopCompilationJob", "DeleteCompilationJob"),
        *("CreateEdgeDeploymentPlan", "DescribeEdgeDeploymentPlan", "ListEdgeDeploymentPlans"),
        *("DeleteEdgeDeploymentPlan", "CreateEdgeDeploymentStage", "StartEdgeDeploymentStage"),
        *("StopEdgeDeploymentStage", "DeleteEdgeDeploymentStage", "ListStageDevices"),
    }
)
"""Those of `sagemaker` that are Edge Manager's, and what a packaging job needs."""
OWN_OPERATIONS = frozenset(
    {
        *("Deploy", "Undeploy", "PauseDeployment", "ResumeDeployment", "AbortDeployment", "UndoDeployment"),
        *("DescribeDeployment", "ListDeployments", "ListDeploymentDevices", "ListDeviceDeployments"),
        *("AddDevices", "LabelDevices", "ListDeviceNames", "ListDeviceReports", "CountDevices", "ListFleetReports"),
        *("GetDeviceReport", "GetDeviceLog"),
        *("ListDeviceMetrics", "GetDeviceHistory", "GetDeviceSamples", "GetFleetHistory"),
        *("CreateAccessKey", "ListAccessKeys", "RevokeAccessKey", "ListAudit"),
        *("ListAlerts", "MuteAlert", "UnmuteAlert"),
        *("CreateUser", "ListUsers", "DeleteUser", "ChangePassword"),
    }
)
"""Those that AWS's API has not, under a target of their own."""
