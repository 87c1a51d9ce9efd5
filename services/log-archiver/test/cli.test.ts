import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { afterAll, beforeAll, expect, test, vi } from "vitest";
import { bundle } from "../../../lib/test/bundle.ts";
import { idlePod, kubectlCommand, needsNoPlatform } from "../cli/place.ts";

const directory = mkdtempSync(join(tmpdir(), "the shell of "));
beforeAll(() => {
  // Of the pods of a Job there is one, which has not begun.
  const pods = '{"items":[{"metadata":{"name":"pod"},"status":{"phase":"Pending"}}]}';
  const script = `#!/bin/sh\necho "$KUBECONFIG: $*" >&2\ncase "$*" in *"get pods"*) echo '${pods}' ;; esac\n`;
  writeFileSync(join(directory, "kubectl"), script, { mode: 0o755 });
});
afterAll(() => rmSync(directory, { recursive: true }));

const program = await bundle(join(import.meta.dirname, "../cli/main.ts"));
/** The operator's command line, with a kubectl that says what it is asked. */
const operator = (...args: string[]) =>
  execa(process.execPath, [program, ...args], {
    env: { PATH: `${directory}:${process.env.PATH}`, KUBECONFIG: join(directory, "config") },
    reject: false,
  });

test.each([
  ["npm run restore -- --list", /exec .* restore --list$/],
  ["npm run restore -- --verify", /exec .* restore --verify$/],
  ["npm run import -- --help", /--from-remote/],
])("what is next, %s, is a command line that is taken", async (line, said) => {
  const { exitCode, stdout, stderr } = await operator(
    ...line
      .split(" ")
      .slice(2)
      .filter((word) => word !== "--"),
  );
  expect([exitCode, `${stdout}${stderr}`]).toEqual([0, expect.stringMatching(said)]);
});

test("what is next for a cluster names its kubeconfig", async () => {
  const { exitCode, stderr } = await operator("archive", "--timeout", "0");
  expect(exitCode).toBe(1);
  const [, next = ""] = /^next: (.*)$/m.exec(stderr) ?? [];
  const shell = { env: { PATH: `${directory}:${process.env.PATH}`, KUBECONFIG: "/another" } };
  expect((await execa("sh", ["-c", next], shell)).stderr).toMatch(
    new RegExp(`^${directory}/config: --namespace logging describe job log-archiver-now-\\d+$`),
  );
  vi.stubEnv("KUBECONFIG", join(directory, "config"));
  const pod = kubectlCommand("--namespace", "logging", "describe", "pod", "x");
  vi.unstubAllEnvs();
  expect((await execa("sh", ["-c", pod], shell)).stderr).toBe(
    `${directory}/config: --namespace logging describe pod x`,
  );
});

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
