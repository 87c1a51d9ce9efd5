import { createServer, type RequestListener } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { execa } from "execa";
import { describe, expect, it } from "vitest";
import { freePort } from "../../../lib/test/free-port.ts";
import { slow } from "../../../lib/test/long.ts";
import { probeObjects } from "../src/probe.ts";

interface ProbePod {
  spec: { containers: { command: string[] }[] };
}

/** Runs the pod's program on this machine, and returns the last line that it prints and its exit code. */
async function ask(repository: string): Promise<[string, number | undefined]> {
  const [, pod] = probeObjects("image", repository) as [object, ProbePod];
  const [file = "", ...args] = pod.spec.containers[0]?.command ?? [];
  const { stdout, exitCode } = await execa(file, args, { reject: false });
  return [stdout, exitCode];
}

/** Asks for a repository of a server that begins to listen after some milliseconds. */
async function answerOf(handle: RequestListener, after: number, address = "http://127.0.0.1:PORT/x.git") {
  const port = await freePort();
  const server = createServer(handle);
  const asked = ask(address.replace("PORT", String(port)));
  await sleep(after);
  server.listen(port, "127.0.0.1");
  const answer = await asked;
  await new Promise((done) => server.close(done));
  return answer;
}

describe("the pod that asks for the repository", () => {
  it("asks again while the network lets it through nowhere, as it does a moment after a pod's start", async () => {
    expect(await answerOf((_, answer) => answer.end(), 1500)).toEqual(["open", 0]);
    const ssh = "ssh://git@127.0.0.1:PORT/x.git";
    expect(await answerOf((_, answer) => answer.end(), 1500, ssh)).toEqual(["asks for credentials", 0]);
  });

  it.each([
    [200, ["open", 0]],
    [401, ["asks for credentials", 0]],
    [404, ["answered 404", 1]],
  ])("takes status %s for an answer", async (status, expected) => {
    expect(await answerOf((_, answer) => answer.writeHead(status).end(), 0)).toEqual(expected);
  });

  it("says in the end why nothing answers", slow, async () => {
    const [said, code] = await ask(`http://127.0.0.1:${await freePort()}/x.git`);
    expect([said, code]).toEqual([expect.stringContaining("ECONNREFUSED"), 1]);
  });
});
