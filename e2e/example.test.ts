/** A9: the example Pod, applied by hand. */
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { until } from "../lib/failure.ts";
import { inPod, kubectl } from "./kubectl.ts";
import { repository } from "./platform.ts";

const manifest = join(repository, "docs/examples/app-pod.yaml");
const namespace = "default";
const pod = "app-example";

/** Asks the Pod from inside itself: nothing but a port-forward leads to it. */
const ask = (path: string, init: object = {}): Promise<string> => {
  const program = `fetch("http://127.0.0.1:8080${path}", ${JSON.stringify(init)}).then((r) => r.text()).then((t) => process.stdout.write(t))`;
  return inPod(namespace, pod, "node", "-e", program);
};

const remove = (): Promise<string> =>
  kubectl(["delete", "--namespace", namespace, "--ignore-not-found", "--filename", manifest]);

beforeAll(async () => {
  await remove();
  await kubectl(["apply", "--namespace", namespace, "--filename", manifest]);
  await kubectl(["wait", "--namespace", namespace, "--for=condition=Ready", `pod/${pod}`, "--timeout=100s"]);
});
afterAll(remove);

test("A9 answers and stores lines", async () => {
  expect(await ask("/")).toBe("Welcome to the custom app");
  expect(JSON.parse(await ask("/log", { method: "POST", body: '{"message":"by hand"}' }))).toMatchObject({
    status: "ok",
  });
  expect(await ask("/logs")).toMatch(/ by hand\n$/);
});

test("A9 takes over a changed ConfigMap in place", async () => {
  const patch = JSON.stringify({ data: { GREETING: "Changed by hand" } });
  await kubectl(["patch", "configmap", pod, "--namespace", namespace, "--type=merge", "--patch", patch]);
  await until("the new greeting", 180, async () => {
    const greeting = await ask("/");
    return greeting === "Changed by hand" ? undefined : `it is still ${greeting}`;
  });
  expect(await ask("/logs"), "the same Pod, with its lines").toMatch(/ by hand\n$/);
});
