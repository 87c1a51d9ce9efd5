/** Stubs for kubectl, istioctl, kind, docker and helm, which record how they are called. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, beforeEach, expect, vi } from "vitest";
import { childrenOf } from "../../../lib/render/start.ts";
import { checkout } from "../../../lib/repository.ts";
import { follow } from "../../../lib/test/follow.ts";
import { main, readArguments, reported, runStages } from "../../src/cli.ts";
import { Pipeline } from "../../src/stages.ts";
import { existingCluster } from "../src/existing.ts";

/** What a program answers if its arguments match a shell pattern. The first match counts. */
export interface Answer {
  when: string;
  stdout?: unknown;
  stderr?: string;
  code?: number;
}

/** A directory on the PATH with stubs, and a record of their calls. */
export class Stubs {
  readonly directory = mkdtempSync(join(tmpdir(), "stubs-"));
  readonly bin = join(this.directory, "bin");

  constructor() {
    this.renew();
  }

  /** Forgets all calls and answers. */
  renew(): void {
    this.close();
    mkdirSync(this.bin, { recursive: true });
    for (const program of ["docker", "helm", "istioctl", "kind", "kubectl"]) this.answer(program, []);
  }

  /** Puts a program on the PATH. It silently accepts calls without an answer. */
  answer(program: string, answers: Answer[]): void {
    const cases = answers.map(({ when, stdout = "", stderr = "", code = 0 }) => {
      const text = typeof stdout === "string" ? stdout : JSON.stringify(stdout);
      return `${when.replaceAll(" ", "\\ ")}) printf '%s' ${quoted(text)}; printf '%s' ${quoted(stderr)} >&2; exit ${code} ;;`;
    });
    const file = join(this.bin, program);
    const script = `#!/bin/sh
line="${program} $*"
input=
case " $* " in *" -f - "*|*"/dev/stdin"*) input=$(cat) ;; esac
printf '%s\\n' "$line" >> ${quoted(join(this.directory, "calls"))}
if [ -n "$input" ]; then printf '%s\\n%s\\n\\0' "$line" "$input" >> ${quoted(join(this.directory, "inputs"))}; fi
case "$*" in
${cases.join("\n")}
esac
`;
    writeFileSync(file, script);
    chmodSync(file, 0o755);
  }

  remove(program: string): void {
    rmSync(join(this.bin, program));
  }

  /** Runs a command of deploy.sh, one stage by its title, or only the summary, in this process. */
  async run(
    args: string[],
    environment: Record<string, string> = {},
  ): Promise<{ exitCode: number; stdout: string; stderr: string }> {
    const before = { ...process.env };
    Object.assign(process.env, {
      PATH: `${this.bin}:${before.PATH}`,
      DEPLOY_LOG: this.log,
      // A shell with `./deploy.sh env` sets another builder.
      IMAGE_BUILDER: "",
      KUBECONFIG: "",
      REGISTRY: "",
      ...environment,
    });
    const said = { stdout: "", stderr: "" };
    const spies = (["stdout", "stderr"] as const).map((stream) =>
      vi.spyOn(process[stream], "write").mockImplementation((text) => {
        said[stream] += text;
        return true;
      }),
    );
    try {
      const exitCode = await start(args);
      // Progress lines depend on the clock, and so do the seconds of a stage. Both are removed.
      const stderr = said.stderr.replace(/^( +… |\[ 1\/1\] ).*\n/gm, "");
      const stdout = said.stdout.replace(/^\[ 1\/1\] .*\n/gm, "");
      await this.#followAll(`${stdout}${stderr}`);
      return { exitCode, stdout: stdout.trimEnd(), stderr: stderr.trimEnd() };
    } finally {
      for (const spy of spies) spy.mockRestore();
      process.env = before;
    }
  }

  /**
   * Follows advice in the state in which it was given, if that changes no machine: programs and files must exist, and kubectl
   * must be told which cluster is meant.
   */
  async #followAll(said: string): Promise<void> {
    const calls = join(this.directory, "calls");
    const before = this.calls();
    for (const [, next = ""] of said.matchAll(/\bnext: ((?:kubectl|istioctl|docker|tail|ls|chmod) .*)$/gm)) {
      writeFileSync(calls, "");
      const { exitCode, all } = await follow(next, { cwd: checkout, env: { PATH: process.env.PATH } });
      // docker refuses again what it refused before, and says why.
      const codes = { docker: [0, 1, 125], ls: [0, 2] }[next.split(" ")[0] ?? ""] ?? [0];
      expect({ next, all, codes }).toEqual({ next, all, codes: expect.arrayContaining([exitCode]) });
      for (const call of this.calls().filter((line) => /^(kubectl|istioctl) /.test(line)))
        expect(call).toMatch(/^\S+ --context mine /);
      for (const [, context = ""] of next.matchAll(/^docker build .* (\S+)$/g))
        expect(existsSync(join(checkout, context, "Dockerfile"))).toBe(true);
    }
    writeFileSync(calls, before.map((line) => `${line}\n`).join(""));
  }

  readonly log = join(this.directory, "deploy.log");

  /** All command lines so far. */
  calls(): string[] {
    const file = join(this.directory, "calls");
    return existsSync(file) ? readFileSync(file, "utf8").split("\n").filter(Boolean) : [];
  }

  /** The standard input of programs, with the command line of each. */
  inputs(): { line: string; input: string }[] {
    const file = join(this.directory, "inputs");
    if (!existsSync(file)) return [];
    return readFileSync(file, "utf8")
      .split("\0")
      .filter((entry) => entry.trim() !== "")
      .map((entry) => {
        const text = entry.replace(/^\n/, "");
        const end = text.indexOf("\n");
        return { line: text.slice(0, end), input: text.slice(end + 1) };
      });
  }

  remembered(): string {
    return [this.log, join(this.directory, "calls")]
      .map((file) => (existsSync(file) ? readFileSync(file, "utf8") : ""))
      .join("\n");
  }

  close(): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Passes arguments on as deploy.sh does: an option and its value are one argument. */
async function start([what = "", ...given]: string[]): Promise<number> {
  const options: string[] = [];
  for (const argument of given)
    if (argument.startsWith("--")) options.push(argument);
    else options.push(`${options.pop()}=${argument}`);
  if (["destroy", "doctor"].includes(what)) return main([what, ...options]);
  return reported(async () => {
    const cluster = await existingCluster("bootstrap", readArguments(["bootstrap", ...options]).options);
    if (what === "summary") {
      process.stdout.write(Object.values(await cluster.summary()).join("\n"));
      return;
    }
    const pipeline = new Pipeline(cluster);
    await runStages([[what, pipeline.stage(what)]]);
    process.stdout.write(pipeline.commit ?? "");
  });
}

const quoted = (text: string): string => `'${text.replaceAll("'", `'\\''`)}'`;

/** A cluster without problems: it has three nodes, no load balancer, and nothing installed. */
export function healthy(changes: Answer[] = []): Answer[] {
  const node = (name: string, taints: object[] = []): object => ({
    metadata: { name },
    spec: { providerID: `kind://docker/x/${name}`, taints },
    status: {
      nodeInfo: { kubeletVersion: "v1.36.1" },
      addresses: [{ type: "InternalIP", address: "172.18.0.2" }],
    },
  });
  const missing = { stderr: 'Error from server (NotFound): "it" not found', code: 1 };
  return [
    ...changes,
    { when: "*get*--raw*", stdout: '{"status":"ok"}' },
    {
      when: "*version*",
      stdout: { clientVersion: { gitVersion: "v1.36.0" }, serverVersion: { gitVersion: "v1.36.1" } },
    },
    { when: "*auth*can-i*", stdout: "yes\n" },
    {
      when: "*get*nodes*",
      stdout: {
        items: [
          node("one", [{ key: "node-role.kubernetes.io/control-plane", effect: "NoSchedule" }]),
          node("two"),
          node("three"),
        ],
      },
    },
    {
      when: "*get*storageclasses*",
      stdout: {
        items: [
          {
            metadata: {
              name: "standard",
              annotations: { "storageclass.kubernetes.io/is-default-class": "true" },
            },
            provisioner: "rancher.io/local-path",
          },
        ],
      },
    },
    { when: "*get*customresourcedefinitions*", stdout: { items: [] } },
    {
      when: "*get*services*",
      stdout: {
        items: [
          {
            metadata: { name: "istio-ingressgateway", namespace: "istio-system" },
            spec: { type: "NodePort", ports: [{ name: "http2", port: 80, nodePort: 30080 }] },
          },
        ],
      },
    },
    { when: "*get*deployment*", ...missing },
    { when: "*get namespaces *", stdout: { items: [] } },
    { when: "*get*namespace*", ...missing },
    { when: "*get*secrets*", stdout: { items: [] } },
    { when: "*get*pod*preflight*", stdout: { metadata: {}, status: { phase: "Succeeded" } } },
    { when: "*logs*preflight*", stdout: "open\n" },
    {
      when: "*get*application*root*",
      stdout: { metadata: { annotations: {} }, status: { sync: { revision: "c0ffee".padEnd(40, "0") } } },
    },
    {
      when: "*get*applications.argoproj.io*",
      stdout: {
        items: [
          {
            metadata: { name: "root" },
            spec: {},
            status: {
              sync: { status: "Synced", revision: "c0ffee".padEnd(40, "0") },
              health: { status: "Healthy" },
            },
          },
        ],
      },
    },
  ];
}

/** The version that istioctl reports. */
export const istioctlIs = (version: string, changes: Answer[] = []): Answer[] => [
  ...changes,
  { when: "version*", stdout: { clientVersion: { version } } },
];

/**
 * Stubs that are reset for each test of a file, on a cluster without problems.
 * @param istioctl the version of istioctl on the PATH
 */
export function stubsForEach(istioctl: string): Stubs {
  const stubs = new Stubs();
  // The first rendering may have to download its tools.
  beforeAll(async () => {
    await childrenOf(checkout, "upstream");
  }, 900_000);
  beforeEach(() => {
    stubs.renew();
    stubs.answer("kubectl", healthy());
    stubs.answer("istioctl", istioctlIs(istioctl));
  });
  afterAll(() => stubs.close());
  return stubs;
}
