import { join } from "node:path";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Failure } from "../../lib/failure.ts";
import { checkout } from "../../lib/repository.ts";
import { slow } from "../../lib/test/long.ts";
import { EmbeddedCluster } from "../embedded/src/embedded.ts";
import { ExistingCluster } from "../existing/src/existing.ts";
import { resolveTarget } from "../existing/src/target.ts";
import { main, reported, runStages } from "../src/cli.ts";
import type { Cluster } from "../src/cluster.ts";
import { Pipeline } from "../src/stages.ts";
import { Told } from "../src/told.ts";

const said = { stdout: "", stderr: "" };
beforeEach(() => {
  Object.assign(said, { stdout: "", stderr: "" });
  vi.stubEnv("PATH", process.env.PATH);
  vi.stubEnv("KUBECONFIG", "/home/me/other");
  for (const stream of ["stdout", "stderr"] as const)
    vi.spyOn(process[stream], "write").mockImplementation((text) => {
      said[stream] += text;
      return true;
    });
});
afterEach(() => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
});

const existing = (): Cluster =>
  new ExistingCluster(resolveTarget({ context: "mine" }, "https://git.example/a"));

describe("the stages that deploy.sh lists", () => {
  /** The titles in a list of deploy.sh, as bash reads it. */
  async function listed(name: string): Promise<string[]> {
    const script = `source <(sed -n '/^stages_of/,/)$/p' "$0"); printf '%s\\n' "\${${name}[@]}"`;
    const { stdout } = await execa("bash", ["-c", script, join(checkout, "deploy.sh")]);
    return stdout.split("\n");
  }

  it.each([
    ["stages_of_this_machine", () => new EmbeddedCluster({})],
    ["stages_of_kind", existing],
    ["stages_of_an_existing_cluster", existing],
  ] as [string, () => Cluster][])("%s are stages of that cluster, each once", async (name, cluster) => {
    const titles = await listed(name);
    const pipeline = new Pipeline(cluster());
    for (const title of titles) expect(pipeline.stage(title), title).toBeTypeOf("function");
    expect(titles.length).toBeGreaterThan(4);
    expect(new Set(titles).size).toBe(titles.length);
    // Stages that only a restore has are in its own list.
    const every = name === "stages_of_this_machine" ? await listed("stages_of_a_restore") : titles;
    if (name !== "stages_of_an_existing_cluster")
      expect(every).toEqual(expect.arrayContaining(Object.keys(cluster().stages)));
  });

  it("of a restore are those of the machine, with the backup's state before anything makes keys of its own", async () => {
    const [first, second, ...rest] = await listed("stages_of_a_restore");
    expect(second).toBe("State of the backup");
    expect([first, ...rest]).toEqual(await listed("stages_of_this_machine"));
    expect(new Pipeline(new EmbeddedCluster({})).stage(second ?? "")).toBeTypeOf("function");
  });

  it("have the mesh before anything that is to be part of it, and Argo CD after the repository that it reads", async () => {
    const titles = await listed("stages_of_this_machine");
    const order = [
      "Kubernetes",
      "DNS and storage",
      "Istio",
      "Git server",
      "Repository",
      "Argo CD",
      "Applications",
    ];
    expect(titles.filter((title) => order.includes(title))).toEqual(order);
  });

  it("are refused where no cluster has them", () => {
    expect(() => new Pipeline(existing()).stage("Kubernetes")).toThrow(
      "deploy.sh lists a stage Kubernetes that the cluster upstream does not have",
    );
  });
});

describe("a run of stages", () => {
  it("prints a line for each, and nothing else", async () => {
    const done: string[] = [];
    const stage = (name: string) => async () => void done.push(name);
    expect(
      await reported(() =>
        runStages([
          ["One", stage("one")],
          ["Two", stage("two")],
        ]),
      ),
    ).toBe(0);
    expect(said).toEqual({
      stdout: `[ 1/2] ${"One".padEnd(26)}    0 s\n[ 2/2] ${"Two".padEnd(26)}    0 s\n`,
      stderr: "",
    });
    expect(done).toEqual(["one", "two"]);
  });

  it.each([
    ["a failure", new Failure("it is broken", "look there"), "      it is broken\n      next: look there\n"],
    [
      "a failure without a command",
      new Failure("it is broken"),
      "      it is broken\n      next: tail -n 40 /dev/null\n",
    ],
    [
      "a program's words",
      Object.assign(new Error("exit 1"), { stderr: "no\n" }),
      "      no\n      next: tail -n 40 /dev/null\n",
    ],
    ["nothing that was not told yet", new Told(), ""],
  ])("ends with 1 and the stage's name, after %s", async (_, error, words) => {
    let began = false;
    const failing = async (): Promise<void> => {
      throw error;
    };
    const next = async (): Promise<void> => {
      began = true;
    };
    expect(
      await reported(() =>
        runStages([
          ["One", failing],
          ["Two", next],
        ]),
      ),
    ).toBe(1);
    expect(said).toEqual({ stdout: "", stderr: `${words}[ 1/2] ${"One".padEnd(26)} failed\n` });
    expect(began).toBe(false);
  });

  it("says that it was interrupted, and ends with 1", slow, async () => {
    const script = `
      import { runStages } from "./bootstrap/src/cli.ts";
      await runStages([["Waiting", () => new Promise(() => setInterval(() => console.log("waits"), 100))]]);`;
    const child = execa("node", ["--import", "tsx", "--input-type=module", "--eval", script], {
      cwd: checkout,
      reject: false,
    });
    await new Promise((done) => child.stdout.once("data", done));
    child.kill("SIGTERM");
    const { exitCode, stderr } = await child;
    expect([exitCode, stderr]).toEqual([1, expect.stringMatching(/\[ 1\/1\] Waiting +interrupted$/)]);
  });
});

describe("the cluster of this machine", () => {
  it("is asked through its own kubeconfig and its own programs, whatever the shell has chosen", () => {
    new EmbeddedCluster({});
    expect(process.env.KUBECONFIG).toMatch(/\/kubeconfig\/admin\.yaml$/);
    expect(process.env.PATH).toMatch(/^[^:]+\/bin:/);
  });

  it("gets Istio from the operator and its own profile over it", async () => {
    const { program, install } = await new EmbeddedCluster({}).istioctl();
    const files = ["operator.yaml", "embedded.yaml"].map((file) => join(checkout, "bootstrap/istio", file));
    expect([program, install]).toEqual(["istioctl", files.flatMap((file) => ["--filename", file])]);
  });

  it("says where everything is without the admin's password", async () => {
    const summary = await new EmbeddedCluster({}).summary();
    const rows = [
      "pages",
      "platform",
      "tools",
      "deploy",
      "Argo CD",
      "to look",
      "to change",
      "dashboards",
      "lines",
      "alerts",
      "to silence",
      "Prometheus",
    ];
    expect(Object.keys(summary)).toEqual([...rows, "status"]);
    expect(summary["to change"]).toContain("get secret argocd-initial-admin-secret");
    expect(summary["to look"]).toContain("get secret argocd-viewer");
    expect(summary["to silence"]).toContain("kubectl -n monitoring get secret alertmanager-door");
  });
});

it("a command that nobody has is refused with the next one", async () => {
  expect(await main(["bootstrapp"])).toBe(1);
  expect(said.stderr).toBe("      no command named bootstrapp\n      next: ./deploy.sh --help\n");
});
