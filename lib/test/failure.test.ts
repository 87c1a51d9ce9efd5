import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { execa } from "execa";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Failure, FinalFailure, until } from "../failure.ts";
import { slow } from "./long.ts";

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubEnv("WAIT_SECONDS", undefined);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllEnvs();
});

/** A probe that gives the outcomes in turn, the last one again and again. */
function probing(...outcomes: (string | undefined | Error)[]) {
  const probe = vi.fn(async (): Promise<string | undefined> => {
    const outcome = outcomes.length > 1 ? outcomes.shift() : outcomes[0];
    if (outcome instanceof Error) throw outcome;
    return outcome;
  });
  return probe;
}

/** Lets a wait take its time and answers with what it fails with, or undefined. */
async function outcomeOf(wait: Promise<void>): Promise<Failure | undefined> {
  const outcome = wait.then(
    () => undefined,
    (error: Failure) => error,
  );
  await vi.runAllTimersAsync();
  return outcome;
}

describe("a wait", () => {
  it("ends well as soon as the probe has nothing to say", async () => {
    const probe = probing(undefined);
    expect(await outcomeOf(until("pods", 0, probe))).toBeUndefined();
    expect(probe).toHaveBeenCalledTimes(1);
  });

  it("goes on while the probe gives reasons or fails", async () => {
    const probe = probing("1/3 ready", new Error("connection refused"), new Failure("not yet"), undefined);
    expect(await outcomeOf(until("pods", 600, probe))).toBeUndefined();
    expect(probe).toHaveBeenCalledTimes(4);
  });

  it("asks soon at first, then twice a second until its deadline, and once more after it", async () => {
    const probe = probing("0/3 ready");
    await outcomeOf(until("pods", 10, probe));
    expect(probe).toHaveBeenCalledTimes(5 + 9 * 2 + 1);
  });

  it("ends at its deadline with the object, the last reason and the next command", async () => {
    const probe = probing("0/3 ready", "1/3 ready");
    const failure = await outcomeOf(until("Deployment app", 30, probe, "kubectl describe"));
    expect(failure).toBeInstanceOf(Failure);
    expect(failure).not.toBeInstanceOf(FinalFailure);
    expect(failure?.message).toBe("Deployment app: 1/3 ready (waited 30 s)");
    expect(failure?.next).toBe("kubectl describe");
  });

  it("tells at its deadline what the probe failed with", async () => {
    const failure = await outcomeOf(until("API server", 5, probing(new Error("connection refused"))));
    expect(failure?.message).toBe("API server: connection refused (waited 5 s)");
    expect(failure?.next).toBeUndefined();
    const word = await outcomeOf(until("API server", 5, () => Promise.reject("a word")));
    expect(word?.message).toBe("API server: a word (waited 5 s)");
  });

  it("takes its deadline from the environment where one stands there", async () => {
    vi.stubEnv("WAIT_SECONDS", "3");
    const failure = await outcomeOf(until("nodes", 600, probing("not Ready")));
    expect(failure?.message).toBe("nodes: not Ready (waited 3 s)");
  });

  it("ends at once with a failure that waiting cannot mend", async () => {
    const final = new FinalFailure("the password is wrong", "look at the Secret");
    const probe = probing("not yet", final, "later");
    expect(await outcomeOf(until("git", 600, probe))).toBe(final);
    expect(probe).toHaveBeenCalledTimes(2);
  });
});

describe("a peer that hangs up without an answer", () => {
  it("does not end the process in the middle of a wait", slow, async () => {
    vi.useRealTimers();
    const server = createServer((socket) => socket.end()).listen(0, "127.0.0.1");
    await once(server, "listening");
    const { port } = server.address() as AddressInfo;
    const program = `
      import { until } from "${new URL("../failure.ts", import.meta.url).pathname}";
      const probe = async () => {
        await fetch("http://127.0.0.1:${port}/", { signal: AbortSignal.timeout(300) });
      };
      await until("the peer", 1, probe).catch(({ message }) => console.log(message));`;
    const { exitCode, stdout } = await execa("npx", ["tsx", "--input-type=module", "--eval", program], {
      reject: false,
      env: { WAIT_SECONDS: "1" },
    });
    server.close();
    expect({ exitCode, stdout }).toMatchObject({ exitCode: 0, stdout: expect.stringMatching(/^the peer: /) });
  });
});
