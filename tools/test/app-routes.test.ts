/** The spellings of a path that the app's router takes for one are one route of the mesh, and one operation of the objectives. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { renderObjects } from "../../lib/render/kustomize.ts";
import { checkout } from "../../lib/repository.ts";
import { bundle } from "../../lib/test/bundle.ts";

interface Route {
  name: string;
  match?: { method?: { exact: string }; uri?: { exact: string }; ignoreUriCase?: boolean }[];
}

const environments = readdirSync(join(checkout, "gitops/apps/logging/overlays"));
const routes = new Map<string, Route[]>();
const directory = mkdtempSync(join(tmpdir(), "app-"));
let app: ChildProcess;
let url = "";

/** Starts the app on a port of its own. */
async function startApp(): Promise<void> {
  const program = await bundle(join(checkout, "services/app/src/main.ts"));
  const settings = { PORT: "0", METRICS_PORT: "0", DRAIN_SECONDS: "0", LOG_DIR: join(directory, "logs") };
  for (const name of ["config", "logs"]) mkdirSync(join(directory, name));
  for (const [name, value] of Object.entries(settings)) writeFileSync(join(directory, "config", name), value);
  app = spawn(process.execPath, [program], {
    cwd: join(checkout, "services/app"),
    env: { PATH: process.env.PATH, CONFIG_DIR: join(directory, "config") },
    stdio: ["ignore", "pipe", "inherit"],
  });
  for await (const line of createInterface(app.stdout as NodeJS.ReadableStream)) {
    const { msg, port } = JSON.parse(line) as { msg: string; port?: number };
    if (msg !== "listening") continue;
    url = `http://127.0.0.1:${port}`;
    app.stdout?.resume();
    return;
  }
  throw new Error("the app ended");
}

beforeAll(async () => {
  await startApp();
  for (const environment of environments) {
    const objects = await renderObjects(join(checkout, "gitops/apps/logging/overlays", environment));
    const mesh = objects.find(({ kind, metadata }) => kind === "VirtualService" && metadata.name === "app");
    routes.set(environment, mesh?.spec.http);
  }
}, 900_000);
afterAll(async () => {
  const ended = once(app, "exit");
  app.kill("SIGKILL");
  await ended;
  rmSync(directory, { recursive: true });
});

/** The route that Istio sends a request by: the first whose method and path, without the query, match. */
function routeOf(environment: string, method: string, target: string): string | undefined {
  const [path = ""] = target.split("?");
  return routes.get(environment)?.find(
    ({ match }) =>
      match === undefined ||
      match.some(({ method: wanted, uri, ignoreUriCase }) => {
        const same = ignoreUriCase ? path.toLowerCase() === uri?.exact.toLowerCase() : path === uri?.exact;
        return same && (wanted === undefined || wanted.exact === method);
      }),
  )?.name;
}

/** The operation that the proxies count a request as, on each kind of cluster: conditions on the method and the path. */
function operationsOf(method: string, target: string): string[] {
  const files = ["embedded/istio-metrics/envoyfilter.yaml", "upstream/telemetry.yaml"];
  return files.map((file) => {
    const text = readFileSync(join(checkout, "gitops/platform/monitoring/overlays", file), "utf8");
    const condition =
      /request\.method == '(\w+)' && request\.url_path(?: == '(.*?)'|\.matches\('(.*?)'\)) \? '(.*?)'/g;
    const [path = ""] = target.split("?");
    for (const [, wanted, exact, pattern, operation] of text.matchAll(condition)) {
      // RE2 and this engine write a part in which capitals do not count in different ways.
      const expression = new RegExp((pattern ?? "").replace(/\(\?i:(\w+)\)/, "$1"), "i");
      if (wanted === method && (exact ? exact === path : expression.test(path))) return operation ?? "";
    }
    return "other";
  });
}

/** What the app answers where it stores a line → the route and the operation that such a request is to have. */
const stored = new Map([
  ['{"status":"ok"}', ["append", "POST /log"]],
  ['{"status":"ok","lines":1}', ["append-many", "POST /logs"]],
]);

describe.each([
  "/log",
  "/log/",
  "/LOG",
  "/Log/",
  "/lOg?a=b",
  "/LOG/?a=b",
  "/logs",
  "/log/x",
  "/log//",
  "/logger",
  "/lo%67",
  "/logs/",
  "/LOGS",
  "/Logs/?a=b",
  "/logs//",
  "/logs/x",
  "/logss",
])("POST %s", (target) => {
  it("has the delay and the timeout exactly where the app stores it", async () => {
    const answer = await fetch(url + target, { method: "POST", body: '{"message":"hello"}' });
    const [route, operation] = stored.get(await answer.text()) ?? ["everything-else", "other"];
    for (const environment of environments) expect(routeOf(environment, "POST", target)).toBe(route);
    expect(new Set(operationsOf("POST", target))).toEqual(new Set([operation]));
  });
});

it("stores one line at /log and many at /logs", async () => {
  for (const [body, [, operation = ""]] of stored) {
    const [method, path] = operation.split(" ");
    const answer = await fetch(url + path, { method: method as string, body: '{"message":"hello"}' });
    expect(await answer.text()).toBe(body);
  }
});

describe.each(["/logs", "/logs/", "/LOGS", "/Logs/", "/logs?lines=1", "/log", "/logs/x"])(
  "GET %s",
  (target) => {
    it("has time to come exactly where the app answers with the log", async () => {
      const { status } = await fetch(url + target);
      for (const environment of environments)
        expect(routeOf(environment, "GET", target)).toBe(status === 200 ? "logs" : "everything-else");
      expect(new Set(operationsOf("GET", target))).toEqual(new Set([status === 200 ? "GET /logs" : "other"]));
    });
  },
);
