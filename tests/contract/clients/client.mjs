// The JavaScript SDK of AWS, unmodified: a fleet, its devices by pages of two, and an error. Prints one JSON object.
import {
  CreateDeviceFleetCommand,
  DeleteDeviceFleetCommand,
  DeregisterDevicesCommand,
  DescribeDeviceCommand,
  DescribeDeviceFleetCommand,
  RegisterDevicesCommand,
  SageMakerClient,
  paginateListDevices,
} from "@aws-sdk/client-sagemaker";

const client = new SageMakerClient({});
const fleet = { DeviceFleetName: "js" };
const names = ["a", "b", "c", "d", "e"];

await client.send(
  new CreateDeviceFleetCommand({ ...fleet, OutputConfig: { S3OutputLocation: "s3://models/js" } }),
);
await client.send(
  new RegisterDevicesCommand({ ...fleet, Devices: names.map((DeviceName) => ({ DeviceName })) }),
);
const pages = [];
for await (const page of paginateListDevices({ client, pageSize: 2 }, { ...fleet })) {
  pages.push(page.DeviceSummaries.map((each) => each.DeviceName));
}
const device = await client.send(new DescribeDeviceCommand({ ...fleet, DeviceName: "a" }));
await client.send(new DeregisterDevicesCommand({ ...fleet, DeviceNames: names }));
await client.send(new DeleteDeviceFleetCommand(fleet));
let error;
try {
  await client.send(new DescribeDeviceFleetCommand(fleet));
} catch (caught) {
  error = { name: caught.name, message: caught.message, status: caught.$metadata.httpStatusCode };
}
console.log(JSON.stringify({ pages, registered: device.RegistrationTime instanceof Date, error }));
