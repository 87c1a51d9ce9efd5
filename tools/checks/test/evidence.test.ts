/** An e2e test that is broken on purpose leaves its evidence where the workflow looks for it. */
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { execa } from "execa";
import { load } from "js-yaml";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { checkout } from "../../../lib/repository.ts";
import { slow } from "../../../lib/test/long.ts";

let directory: string;
const path = (...parts: string[]): string => join(directory, ...parts);
const left: string[] = [];
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "broken-"));
  for (const name of ["bin", "state/log", "tests"]) mkdirSync(path(name), { recursive: true });
  writeFileSync(path("bin/kubectl"), `#!/bin/sh\necho "asked: $*"\n`, { mode: 0o755 });
  // deploy.sh would reinstall packages that are older than their lock file, while tests use them.
  writeFileSync(path("bin/npm"), "#!/bin/sh\nexit 1\n", { mode: 0o755 });
  // This test is not about what deploy.sh starts.
  writeFileSync(path("bin/node"), '#!/bin/sh\n[ "$1" = -p ] && echo 24 || echo "asked: $*"\n', {
    mode: 0o755,
  });
  writeFileSync(path("deploy.log"), "what deploy.sh said\n");
  writeFileSync(path("state/log/etcd.log"), "what etcd said\n");
});
afterEach(() => {
  for (const place of [directory, ...left.splice(0)]) rmSync(place, { recursive: true, force: true });
});

/** Runs tests with the configuration of e2e, but without its platform. The last file stands for the final one of e2e. */
async function run(first: string): Promise<{ exitCode?: number | undefined; all: string }> {
  const vitest = JSON.stringify(join(checkout, "node_modules/vitest/dist/index.js"));
  const evidence = JSON.stringify(join(checkout, "e2e/evidence.ts"));
  const names = `import { beforeAll, expect, test } from ${vitest};\n`;
  writeFileSync(path("tests/api.test.ts"), `${names}${first}`);
  writeFileSync(
    path("tests/lifecycle.test.ts"),
    `${names}import { somethingFailed } from ${evidence};
test("the end", (context) => { if (somethingFailed()) context.skip("left as it is"); console.log("DESTROYED"); });\n`,
  );
  const configuration = path("vitest.config.ts");
  writeFileSync(
    configuration,
    `import e2e from ${JSON.stringify(join(checkout, "e2e/vitest.config.ts"))};
export default { test: { ...e2e.test, root: ${JSON.stringify(path("tests"))}, include: ["*.test.ts"], globalSetup: [],
  setupFiles: ${JSON.stringify(join(checkout, "e2e/failing.ts"))} } };\n`,
  );
  return execa(
    process.execPath,
    [join(checkout, "node_modules/vitest/vitest.mjs"), "run", "--config", configuration],
    {
      cwd: checkout,
      reject: false,
      all: true,
      env: {
        PATH: `${path("bin")}:${process.env.PATH}`,
        STATE_DIR: path("state"),
        DEPLOY_LOG: path("deploy.log"),
        E2E_EVIDENCE: undefined,
        TMPDIR: undefined,
        NO_COLOR: "1",
      },
    },
  );
}

const placeIn = (all: string): string =>
  /The evidence of the first failure is in (\S+);/.exec(all)?.[1] ?? "";

interface Step {
  run?: string;
  if?: string;
  uses?: string;
  with?: { path?: string };
}
const workflow = load(readFileSync(join(checkout, ".github/workflows/ci.yaml"), "utf8")) as {
  jobs: Record<string, { steps: Step[] }>;
};

describe("a failed run of e2e", () => {
  test.each([
    [
      "test",
      'test("good", () => {});\ntest("broken on purpose", () => expect(1).toBe(2));\n',
      "broken on purpose",
    ],
    [
      "hook",
      'beforeAll(() => { throw new Error("no platform"); });\ntest("good", () => {});\n',
      "api.test.ts",
    ],
  ])(
    "keeps its evidence where a %s fails, destroys nothing, and the workflow uploads it",
    slow,
    async (_, first, failed) => {
      const { exitCode, all } = await run(first);
      const place = placeIn(all);
      left.push(place);
      expect(exitCode, all).toBe(1);
      expect(place, all).not.toBe("");
      expect(all).not.toContain("DESTROYED");
      const kept = (name: string): string => readFileSync(join(place, name), "utf8");
      expect(kept("failed.txt")).toContain(failed);
      expect(kept("deploy.log")).toContain("what deploy.sh said");
      expect(kept("components/etcd.log")).toContain("what etcd said");
      expect(kept("events.txt")).toContain("asked: get events --all-namespaces");
      expect(kept("applications.yaml")).toContain("asked: get applications.argoproj.io");
      expect(kept("jobs.yaml")).toContain("asked: get cronjobs,jobs");
      expect(kept("archiver-logs.txt")).toContain("asked: --namespace logging logs");
      expect(kept("doctor.txt")).toMatch(/\w/);

      const { steps = [] } = workflow.jobs.platform ?? {};
      const behind = steps.slice(steps.findIndex((step) => step.run === "npm run e2e") + 1);
      expect(behind.length).toBeGreaterThan(0);
      // A step without a condition would no longer run after a failure, and its files must still exist.
      for (const step of behind) expect(step.if, JSON.stringify(step)).toBe("failure()");
      expect(behind.some((step) => step.run === "./deploy.sh doctor")).toBe(true);
      const upload = behind.find((step) => step.uses?.startsWith("actions/upload-artifact@"));
      const { stdout } = await execa("sh", ["-c", `ls -d ${upload?.with?.path?.split("\n").join(" ")}`], {
        reject: false,
      });
      expect(stdout.split("\n").map((line) => line.replace(/\/$/, ""))).toContain(place);
    },
  );

  test("is told from a good one, which leaves nothing and goes on to the end", slow, async () => {
    const { exitCode, all } = await run('test("good", () => {});\n');
    expect([exitCode, placeIn(all)], all).toEqual([0, ""]);
    expect(all).toContain("DESTROYED");
    expect(/logging-platform-e2e-\d+/.exec(all)).toBeNull();
  });

  test("leaves the platform to whoever looks, in .ci/run too", () => {
    const script = readFileSync(join(checkout, ".ci/run"), "utf8");
    expect(script).toMatch(/step e2e npm run e2e && step destroy /);
    expect(existsSync(join(checkout, "e2e/failing.ts"))).toBe(true);
  });
});
