import { expect, test } from "vitest";
import { idlePod, needsNoPlatform } from "../cli/place.ts";

test.each([
  [[], false],
  [["--list"], false],
  [["--from", "latest"], false],
  [["--from", "app-logs-20261123T112233.456Z.tar.gz", "--since", "2h"], false],
  [["--from=all", "--skip-damaged"], false],
  // A pattern may look like a path.
  [["--grep", "/status"], false],
  [["--grep=a/b"], false],
  [["--from-dir", "archives"], true],
  [["--from-dir=archives"], true],
  [["--list", "--from-remote", "s3:bucket/path"], true],
  [["--from-remote=s3:bucket"], true],
  [["--archives", "archives"], true],
  [["--from", "./app-logs-20261123T112233.456Z.tar.gz"], true],
  [["--from=/tmp/app-logs-20261123T112233.456Z.tar.gz"], true],
  [["--help"], true],
  [["-h"], true],
])("restore %j needs no platform: %s", (options, expected) => {
  expect(needsNoPlatform(options)).toBe(expected);
});

test("the pod that waits has all that a run has, but does nothing by itself", () => {
  const template = {
    metadata: { labels: { "app.kubernetes.io/component": "job" } },
    spec: {
      serviceAccountName: "log-archiver",
      containers: [{ name: "log-archiver", args: ["archive"], image: "x", volumeMounts: [] }],
      volumes: [{ name: "archive" }],
    },
  };
  expect(idlePod("waits", template)).toEqual({
    apiVersion: "v1",
    kind: "Pod",
    metadata: { labels: { "app.kubernetes.io/component": "job" }, name: "waits" },
    spec: {
      serviceAccountName: "log-archiver",
      containers: [{ name: "log-archiver", args: ["serve"], image: "x", volumeMounts: [] }],
      volumes: [{ name: "archive" }],
    },
  });
  expect(template.spec.containers[0]?.args).toEqual(["archive"]);
});
