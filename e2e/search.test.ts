/** B7: any line is found in seconds, by a command and in a page, live too, also while the place to search comes and goes. */
import { randomUUID } from "node:crypto";
import { createInterface } from "node:readline";
import { execa } from "execa";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { slow } from "../lib/test/long.ts";
import { linesWith, namespace, pods, post } from "./app.ts";
import { complaints, picture, startBrowser } from "./browser.ts";
import { get, inPod, kubectl } from "./kubectl.ts";
import { linesOfAgents, notOnce, send } from "./lines.ts";
import { exported, repository } from "./platform.ts";

// What is promised, in seconds.
const foundWithin = 5;
const liveWithin = 3;

let browser: Browser;
beforeAll(async () => {
  browser = await startBrowser();
});
afterAll(() => browser?.close());

const logs = (...args: string[]) =>
  execa("npm", ["run", "--silent", "logs", "--", ...args], {
    cwd: repository,
    reject: false,
    maxBuffer: 1e9,
  });

/** The messages of what `npm run logs` prints, in its order. */
async function found(...args: string[]): Promise<string[]> {
  const { exitCode, stdout, stderr } = await logs("--since", "1h", "--limit", "100000", ...args);
  // 4 where nothing is found.
  if (exitCode !== 0 && exitCode !== 4) throw new Error(stderr);
  return stdout === "" ? [] : stdout.split("\n").map((line) => line.replace(/^\S+ \S+ \S+ /, ""));
}

/** Asks as the page does, for one line. */
const ask = (query: string): Promise<Response> =>
  fetch(`${exported("LOGS_URL")}/select/logsql/query`, {
    method: "POST",
    body: new URLSearchParams({ query, limit: "1" }),
  });

/** Asks until something is found. */
async function visible(text: string): Promise<void> {
  await until(`a line with ${text}`, foundWithin, async () => {
    const answer = await ask(`"${text}"`);
    return (await answer.text()).includes(text) ? undefined : "it is not found";
  });
}

test("B7 a posted line is found from every pod, in order, once, also after its pod was deleted", async ({
  annotate,
}) => {
  const id = randomUUID();
  const sent: string[] = [];
  const slow: number[] = [];
  const lacking = async (): Promise<string[]> =>
    [...(await linesWith(id))].filter(([, lines]) => lines.length === 0).map(([pod]) => pod);
  while (sent.length < 6 || (await lacking()).length > 0) {
    const message = `${id} ${sent.length}`;
    expect((await post(message)).status).toBe(200);
    const acknowledged = Date.now();
    await visible(message);
    slow.push(Date.now() - acknowledged);
    sent.push(message);
  }
  expect(await found(id)).toEqual(sent);
  await annotate(`acknowledged to found: at most ${Math.max(...slow)} ms of ${slow.length}`);
  const [victim] = await pods();
  const name = victim?.metadata.name ?? "";
  const before = await found("--pod", name, id);
  expect(before.length).toBeGreaterThan(0);
  await kubectl(["--namespace", namespace, "delete", "pod", name]);
  expect(await found("--pod", name, id)).toEqual(before);
  await until("the app's pods", 120, async () => ((await pods()).length === 3 ? undefined : "not three"));
});

test("B7 the page shows it", async () => {
  const id = randomUUID();
  expect((await post(`${id} in the page`)).status).toBe(200);
  await visible(id);
  const door = await fetch(`${exported("LOGS_URL")}/`);
  expect(door.url).toBe(`${exported("LOGS_URL")}/select/vmui/`);
  const page = await browser.newPage({ viewport: { width: 1500, height: 950 } });
  const complained = complaints(page);
  const query = new URLSearchParams({
    query: `"${id}"`,
    "g0.range_input": "1h",
    "g0.relative_time": "last_1_hour",
  });
  await page.goto(`${exported("LOGS_URL")}/select/vmui/#/?${query}`);
  await page.getByText(`${id} in the page`).first().waitFor({ timeout: 60_000 });
  expect(complained).toEqual([]);
  await picture(page, "search");
  await page.close();
});

test("B7 a live tail shows lines as they come", async ({ annotate }) => {
  const id = randomUUID();
  const tail = execa("npm", ["run", "--silent", "logs", "--", "--follow", id], {
    cwd: repository,
    reject: false,
    // Ctrl-C reaches a whole group of processes, and npm hands on no SIGINT.
    detached: true,
  });
  const shown: string[] = [];
  createInterface({ input: tail.stdout }).on("line", (line) => shown.push(line));
  try {
    // It has begun when it shows the first one.
    let probes = 0;
    await until("the tail", 60, async () => {
      await post(`${id} probe ${probes++}`);
      return shown.length > 0 ? undefined : "it shows nothing yet";
    });
    const lags: number[] = [];
    const count = 10;
    for (let number = 0; number < count; number++) {
      await post(`${id} line ${number}`);
      const acknowledged = Date.now();
      await until(`line ${number}`, liveWithin, async () =>
        shown.some((line) => line.endsWith(` ${id} line ${number}`)) ? undefined : "it is not shown",
      );
      lags.push(Date.now() - acknowledged);
    }
    const lines = shown.filter((line) => line.includes(" line "));
    expect(lines.map((line) => line.slice(line.indexOf(" line ") + 6))).toEqual(
      Array.from({ length: count }, (_, number) => String(number)),
    );
    await annotate(
      `acknowledged to shown: ${lags.sort((a, b) => a - b)[count >> 1]} ms p50, ${lags.at(-1)} ms at most`,
    );
  } finally {
    process.kill(-(tail.pid ?? Number.NaN), "SIGINT");
    await tail;
  }
});

test("B7 the door answers questions, and lets nothing be changed or seen besides", async () => {
  const status = async (path: string, init?: RequestInit): Promise<number> =>
    (await fetch(exported("LOGS_URL") + path, { redirect: "manual", ...init })).status;
  expect(await status("/select/logsql/query?query=*&limit=1")).toBe(200);
  for (const path of [
    "/insert/jsonline",
    "/insert/native",
    "/delete/run_task",
    "/internal/force_flush",
    "/internal/partition/list",
    "/select/logsql/query/../../../insert/jsonline",
  ])
    expect(await status(path, { method: "POST", body: "{}" }), path).toBe(403);
  for (const path of ["/metrics", "/flags", "/debug/pprof/heap", "/internal/select/query", "/health"])
    expect(await status(path), path).toBe(403);
  expect(await status("/select/logsql/query?query=*", { method: "DELETE" })).toBe(403);
});

test("B7 lines come in from the feeder and the archiver alone", async () => {
  const { status } = await get<{ status: { podIP: string } }>(
    "pod",
    "victoria-logs-0",
    "--namespace",
    "search",
  );
  const line = JSON.stringify({ message: "forged", time: new Date().toISOString() });
  const ask = (to: string): string =>
    `fetch('http://${to}:9428/insert/jsonline', { method: 'POST', body: '${line}' })` +
    ".then((r) => console.log(r.status), (e) => console.log(e.cause.code))";
  const [app] = await pods();
  const from = app?.metadata.name ?? "";
  // By name it leaves with the app's identity, by address as plaintext.
  for (const to of ["victoria-logs.search.svc.cluster.local", status.podIP])
    expect((await inPod(namespace, from, "node", "-e", ask(to))).trim(), to).not.toBe("200");
});

interface StorePod {
  metadata: { uid: string };
  status: { conditions?: { type: string; status: string }[] };
}

/** Ends the search store's pod at once, and returns the wait for the next one to answer. */
async function endStore(): Promise<() => Promise<void>> {
  const pod = ["victoria-logs-0", "--namespace", "search"];
  const { uid } = (await get<StorePod>("pod", ...pod)).metadata;
  await kubectl(["delete", "pod", ...pod, "--force", "--grace-period=0"]);
  return () =>
    until("the search store", 180, async () => {
      const { metadata, status } = await get<StorePod>("pod", ...pod);
      const isReady = status.conditions?.some(({ type, status }) => type === "Ready" && status === "True");
      if (metadata.uid === uid || !isReady) return "its next pod is not ready";
      const answer = await ask("*");
      return answer.ok ? undefined : `it answers ${answer.status}`;
    });
}

test(
  "B7 the search store is killed, is gone, and comes back empty: printing goes on, and all is found again",
  slow,
  async ({ annotate }) => {
    const id = randomUUID();
    const sending = send(id, 300);
    await until("100 messages", 60, async () =>
      sending.acknowledged.size >= 100 ? undefined : `only ${sending.acknowledged.size} are acknowledged`,
    );
    const restarted = await endStore();
    const failing = await logs("--since", "1h", id);
    if (failing.exitCode === 1)
      expect(failing.stderr).toMatch(/^next: kubectl --namespace search get pods$/m);
    const sent = await sending.done;
    // The agents print while it is away, and what was lost is handed on when it is back.
    await until("the agents' output", 60, async () => {
      const printed = new Set((await linesOfAgents(id)).map(({ message }) => message));
      const missing = [...sent.acknowledged].filter((message) => !printed.has(message)).length;
      return missing === 0 ? undefined : `${missing} lines are missing`;
    });
    await restarted();
    await until("every line", 120, async () => {
      const missing = sent.acknowledged.size - new Set(await found(id)).size;
      return missing === 0 ? undefined : `${missing} lines are missing`;
    });

    // Its disk is lost too. What the nodes dropped meanwhile only the archives have; here both fill it.
    await kubectl(["--namespace", "search", "delete", "pvc", "victoria-logs", "--wait=false"]);
    const empty = await endStore();
    await empty();
    // The archiver's proxy hears of the new pod a moment after it is ready.
    await until("the restore", 60, async () => {
      const fill = await execa("npm", ["run", "--silent", "restore", "--", "--into", "search"], {
        cwd: repository,
        reject: false,
      });
      if (fill.exitCode !== 0) return fill.stderr;
      await annotate(fill.stdout.split("\n").at(-1) ?? "");
      return undefined;
    });
    const messages = await found(id);
    // A gateway's retry may have written a line on two pods.
    expect(notOnce([...new Set(messages)], sent)).toEqual([]);
    expect(new Set(messages).size).toBe(sent.acknowledged.size);
    const again = await execa("npm", ["run", "--silent", "restore", "--", "--into", "search"], {
      cwd: repository,
    });
    expect(again.stdout).toMatch(/: \d+ lines were missing, and are found now$/);
    expect(await found(id)).toEqual(messages);
  },
);

test("what the command is asked wrongly it says, with the next command", async () => {
  const bad = await logs("(");
  expect([bad.exitCode, bad.stderr]).toEqual([
    1,
    expect.stringMatching(/does not understand the query: .*\nnext: npm run logs -- --help$/s),
  ]);
  const none = await logs(randomUUID());
  expect([none.exitCode, none.stdout, none.stderr]).toEqual([
    4,
    "",
    expect.stringContaining("no line since"),
  ]);
  expect((await logs("--since", "never")).exitCode).toBe(64);
});
