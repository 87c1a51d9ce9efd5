import { afterEach, describe, expect, it, vi } from "vitest";
import {
  type Application,
  applicationTrouble,
  lagsBehind,
  refreshAnnotation,
} from "../../lib/cluster/applications.ts";
import { formatDiagnoses } from "../../lib/cluster/doctor.ts";
import { contextArguments } from "../../lib/cluster/kubectl.ts";
import { type Pod, podTrouble, worstTrouble } from "../../lib/cluster/pods.ts";

const commit = "a".repeat(40);
const other = "b".repeat(40);

describe("an Application", () => {
  const trouble = (status: Application["status"], wanted?: string): string | undefined =>
    applicationTrouble({ metadata: { name: "logging" }, spec: {}, ...(status && { status }) }, wanted);
  const well: NonNullable<Application["status"]> = {
    sync: { status: "Synced", revision: commit },
    health: { status: "Healthy" },
    operationState: { phase: "Succeeded", syncResult: { revision: commit } },
  };

  it("with several sources is at a commit that is one of theirs", () => {
    const several = { ...well, sync: { status: "Synced", revisions: ["88.0.0", commit] } };
    expect(trouble(several, commit)).toBeUndefined();
    expect(trouble(several, other)).toBe(
      "Application logging is at 88.0.0 and aaaaaaaaaaaa, not at bbbbbbbbbbbb",
    );
  });

  it("lags behind when it was compared with other commits only, and nobody has asked for more yet", () => {
    const lags = (sync: object, annotations = {}): boolean =>
      lagsBehind({ metadata: { name: "logging", annotations }, spec: {}, status: { sync } }, commit);
    expect(lags({ revision: other })).toBe(true);
    expect(lags({ revisions: ["88.0.0", other] })).toBe(true);
    expect(lags({ revision: other }, { [refreshAnnotation]: "normal" })).toBe(false);
    expect(lags({ revision: commit })).toBe(false);
    expect(lags({ revisions: ["88.0.0", commit] })).toBe(false);
    // It is being compared for the first time.
    expect(lags({})).toBe(false);
  });

  it("is well when it is Synced to the commit and Healthy", () => {
    expect(trouble(well, commit)).toBeUndefined();
    expect(trouble(well)).toBeUndefined();
    expect(trouble({ sync: well.sync ?? {}, health: well.health ?? {} }, commit)).toBeUndefined();
  });

  it("has its first error told before anything else, and no warning", () => {
    const conditions = [
      { type: "SharedResourceWarning", message: "shared" },
      { type: "ComparisonError", message: `cannot render\n${"details ".repeat(99)}` },
      { type: "SyncError", message: "later" },
    ];
    expect(trouble({ ...well, conditions }, other)).toBe(
      "Application logging: ComparisonError: cannot render",
    );
    expect(trouble({ ...well, conditions: conditions.slice(0, 1) }, commit)).toBeUndefined();
  });

  it.each(["Failed", "Error"])("tells why its sync ended with %s", (phase) => {
    const failed = (message?: string) => ({
      ...well,
      sync: { status: "OutOfSync", revision: commit },
      operationState: { phase, ...(message && { message }), syncResult: { revision: commit } },
    });
    expect(trouble(failed("one object failed\nmore"), commit)).toBe(
      `Application logging: sync ${phase}: one object failed`,
    );
    expect(trouble(failed())).toBe(`Application logging: sync ${phase}: no message`);
  });

  it("forgets a failed sync once what runs equals a later commit, for no sync follows", () => {
    const operationState = { phase: "Failed", message: "one object failed", syncResult: { revision: other } };
    expect(trouble({ ...well, operationState }, commit)).toBeUndefined();
  });

  it("cuts a message that no terminal line holds", () => {
    const conditions = [{ type: "SyncError", message: "x".repeat(5000) }];
    expect(trouble({ ...well, conditions })).toBe(`Application logging: SyncError: ${"x".repeat(300)}`);
  });

  it("names the commit that it is at instead", () => {
    expect(trouble({ ...well, sync: { status: "Synced", revision: other } }, commit)).toBe(
      "Application logging is at bbbbbbbbbbbb, not at aaaaaaaaaaaa",
    );
    expect(trouble({}, commit)).toBe("Application logging is at no revision, not at aaaaaaaaaaaa");
    expect(trouble(undefined, commit)).toBe("Application logging is at no revision, not at aaaaaaaaaaaa");
  });

  it("names the first object that is not as in Git", () => {
    const sync = { status: "OutOfSync", revision: commit };
    const resources = [
      { kind: "Service", name: "app-service", status: "Synced" },
      { kind: "Deployment", name: "app", status: "OutOfSync" },
    ];
    expect(trouble({ ...well, sync, resources }, commit)).toBe(
      "Application logging is OutOfSync: Deployment app",
    );
    expect(trouble({ ...well, sync }, commit)).toBe("Application logging is OutOfSync");
    expect(trouble({})).toBe("Application logging is not compared yet");
    expect(trouble(undefined)).toBe("Application logging is not compared yet");
  });

  it("is not well while it still syncs", () => {
    const operationState = { phase: "Running", message: "waiting for Deployment app\nand more" };
    expect(trouble({ ...well, operationState }, commit)).toBe(
      "Application logging is syncing: waiting for Deployment app",
    );
  });

  it("names the object that ails, and what it says", () => {
    const health = { status: "Degraded" };
    const resources = [
      { kind: "ConfigMap", namespace: "logging", name: "app-config" },
      { kind: "Service", namespace: "logging", name: "app-service", health: { status: "Healthy" } },
      {
        kind: "Deployment",
        namespace: "logging",
        name: "app",
        health: { status: "Degraded", message: "deadline exceeded" },
      },
    ];
    expect(trouble({ ...well, health, resources }, commit)).toBe(
      "Application logging is Degraded: Deployment logging/app is Degraded deadline exceeded",
    );
    expect(trouble({ ...well, health: { status: "Progressing" } }, commit)).toBe(
      "Application logging is Progressing",
    );
    expect(trouble({ sync: well.sync ?? {} }, commit)).toBe("Application logging is of unknown health");
  });
});

describe("a pod", () => {
  type Container = NonNullable<Pod["status"]["containerStatuses"]>[number];
  const pod = (status: Pod["status"]): string | undefined =>
    podTrouble({ metadata: { name: "app-1", namespace: "logging" }, status });
  const container = (name: string, state: Container["state"], ready = false): Container => ({
    name,
    ready,
    state,
  });
  const running = container("app", { running: {} }, true);

  it("is well when it is ready, and when it has ended well", () => {
    const conditions = [
      { type: "PodScheduled", status: "True" },
      { type: "Ready", status: "True" },
    ];
    expect(pod({ phase: "Running", conditions, containerStatuses: [running] })).toBeUndefined();
    const ended = container("app", { terminated: { reason: "Completed", exitCode: 0 } });
    const unready = [{ type: "Ready", status: "False", reason: "PodCompleted" }];
    expect(pod({ phase: "Succeeded", conditions: unready, containerStatuses: [ended] })).toBeUndefined();
  });

  it("is well beside init containers that have ended well", () => {
    const prepared = container("prepare", { terminated: { reason: "Completed", exitCode: 0 } }, true);
    expect(
      pod({ phase: "Running", initContainerStatuses: [prepared], containerStatuses: [running] }),
    ).toBeUndefined();
  });

  it("names the container that waits, why, and what it says of it", () => {
    const message = 'Back-off pulling image "docker.io/logging-platform/app:none"';
    const waiting = container("app", { waiting: { reason: "ImagePullBackOff", message } });
    expect(pod({ phase: "Pending", containerStatuses: [waiting] })).toBe(
      `Pod logging/app-1, container app: ImagePullBackOff (${message})`,
    );
    const silent = container("app", { waiting: { reason: "ContainerCreating" } });
    expect(pod({ phase: "Pending", containerStatuses: [running, silent] })).toBe(
      "Pod logging/app-1, container app: ContainerCreating",
    );
  });

  it("names the init container that holds the others up, not the others", () => {
    const first = container("prepare", { waiting: { reason: "CrashLoopBackOff" } });
    const rest = container("app", { waiting: { reason: "PodInitializing" } });
    expect(pod({ phase: "Pending", initContainerStatuses: [first], containerStatuses: [rest] })).toBe(
      "Pod logging/app-1, container prepare: CrashLoopBackOff",
    );
    const starting = container("prepare", { running: {} });
    expect(pod({ phase: "Pending", initContainerStatuses: [starting], containerStatuses: [rest] })).toBe(
      "Pod logging/app-1 is Pending",
    );
  });

  it("tells with which code a container ended", () => {
    const killed = container("app", { terminated: { reason: "OOMKilled", exitCode: 137 } });
    expect(pod({ phase: "Running", containerStatuses: [killed] })).toBe(
      "Pod logging/app-1, container app: ended with OOMKilled (exit 137)",
    );
  });

  it("tells why it is not ready or was not scheduled", () => {
    const unready = {
      type: "Ready",
      status: "False",
      reason: "ContainersNotReady",
      message: "[app] is unready",
    };
    expect(pod({ phase: "Running", conditions: [unready], containerStatuses: [running] })).toBe(
      "Pod logging/app-1 is not ready: [app] is unready",
    );
    const { message: _, ...terse } = unready;
    expect(pod({ phase: "Running", conditions: [terse] })).toBe(
      "Pod logging/app-1 is not ready: ContainersNotReady",
    );
    const unscheduled = { type: "PodScheduled", status: "False", message: "0/2 nodes are available" };
    expect(pod({ phase: "Pending", conditions: [unscheduled] })).toBe(
      "Pod logging/app-1 is not scheduled: 0/2 nodes are available",
    );
    const another = { type: "Initialized", status: "False", message: "no matter" };
    expect(pod({ phase: "Running", conditions: [another] })).toBeUndefined();
  });

  it.each(["Pending", "Failed", "Unknown"])("tells its phase %s where it says nothing else", (phase) => {
    expect(pod({ phase })).toBe(`Pod logging/app-1 is ${phase}`);
  });
});

it("names of several pods the one whose container fails", () => {
  const pod = (name: string, state: object): Pod => ({
    metadata: { name, namespace: "logging" },
    status: { phase: "Pending", containerStatuses: [{ name: "app", ready: false, state }] },
  });
  const starting = pod("app-1", { waiting: { reason: "ContainerCreating" } });
  const pulling = pod("app-2", { waiting: { reason: "ErrImagePull", message: "not found" } });
  expect(worstTrouble([starting, pulling])).toBe(
    "Pod logging/app-2, container app: ErrImagePull (not found)",
  );
  expect(worstTrouble([starting])).toBe("Pod logging/app-1, container app: ContainerCreating");
  expect(worstTrouble([])).toBeUndefined();
});

it("prints a line for each diagnosis and the remedy below what is wrong", () => {
  expect(
    formatDiagnoses([
      { what: "disk", finding: "40 GiB free" },
      { what: "component etcd", finding: "BACKOFF", remedy: "tail etcd.log" },
    ]),
  ).toBe("ok    disk: 40 GiB free\nwrong component etcd: BACKOFF\n      next: tail etcd.log\n");
  expect(formatDiagnoses([])).toBe("");
});

describe("which cluster", () => {
  afterEach(() => vi.unstubAllEnvs());

  it("is said where no kubeconfig names one, before kubectl asks a port of this machine", () => {
    vi.stubEnv("KUBECONFIG", undefined);
    vi.stubEnv("HOME", "/nonexistent");
    expect(() => contextArguments()).toThrow(
      expect.objectContaining({
        message: "no cluster is chosen: KUBECONFIG is not set, and there is no ~/.kube/config",
        next: 'eval "$(./deploy.sh env)"',
      }),
    );
  });

  it("is the context of KUBE_CONTEXT, or the kubeconfig's own", () => {
    vi.stubEnv("KUBECONFIG", "/some/file");
    vi.stubEnv("KUBE_CONTEXT", undefined);
    expect(contextArguments()).toEqual([]);
    vi.stubEnv("KUBE_CONTEXT", "kind");
    expect(contextArguments()).toEqual(["--context", "kind"]);
  });
});
