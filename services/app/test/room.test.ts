import { once } from "node:events";
import { IncomingMessage } from "node:http";
import { connect, Socket } from "node:net";
import { describe, expect, onTestFinished, test } from "vitest";
import { slow } from "../../../lib/test/long.ts";
import { Room } from "../src/room.ts";
import { entriesOf, expectProblem, post, startHere } from "./running.ts";

const request = (): IncomingMessage => new IncomingMessage(new Socket());

describe("a room", () => {
  test("takes those that fit, and lets the others in by the order of their arrival", async () => {
    const room = new Room(10);
    expect(room.enter(request(), 6)).toBeUndefined();
    expect(room.enter(request(), 4)).toBeUndefined();
    const entered: string[] = [];
    const large = room.enter(request(), 7)?.then(() => entered.push("large"));
    // It would fit before, and does not go ahead.
    const small = room.enter(request(), 1)?.then(() => entered.push("small"));
    room.leave(4);
    await Promise.resolve();
    expect(entered).toEqual([]);
    room.leave(6);
    await Promise.all([large, small]);
    expect(entered).toEqual(["large", "small"]);
    room.leave(8);
    expect(room.enter(request(), 10)).toBeUndefined();
  });

  test("is had alone by what is larger than all of it", async () => {
    const room = new Room(10);
    expect(room.enter(request(), 1)).toBeUndefined();
    const large = room.enter(request(), 11);
    room.leave(1);
    await large;
    const next = room.enter(request(), 1);
    room.leave(11);
    await next;
  });

  test("forgets who has gone, and lets in who waited behind", async () => {
    const room = new Room(10);
    expect(room.enter(request(), 5)).toBeUndefined();
    const gone = request();
    const large = room.enter(gone, 10);
    const small = room.enter(request(), 5);
    gone.emit("close");
    await expect(large).rejects.toMatchObject({ status: 400 });
    await small;
    room.leave(10);
    expect(room.enter(request(), 10)).toBeUndefined();
  });

  test("lets a limited number wait, each for a limited time", async () => {
    const room = new Room(10);
    room.enter(request(), 10);
    const answers = await Promise.allSettled(Array.from({ length: 130 }, () => room.enter(request(), 1)));
    expect(new Set(answers.map(({ status }) => status))).toEqual(new Set(["rejected"]));
    for (const answer of answers)
      expect((answer as PromiseRejectedResult).reason).toMatchObject({ status: 503, retryAfter: 1 });
    room.leave(10);
    expect(room.enter(request(), 10)).toBeUndefined();
  });
});

test(
  "batches that nobody finishes keep out batches until they have gone, and no single line",
  slow,
  async () => {
    const { url, file } = await startHere();
    const senders = Array.from({ length: 4 }, () => connect(Number(new URL(url).port), "127.0.0.1"));
    onTestFinished(() => {
      for (const sender of senders) sender.destroy();
    });
    for (const sender of senders) {
      await once(sender, "connect");
      sender.write(`POST /logs HTTP/1.1\r\nHost: app\r\nContent-Length: ${1024 * 1024}\r\n\r\n{`);
    }
    const batch = () => fetch(`${url}/logs`, { method: "POST", body: '{"message":"batch"}' });
    let refused = await batch();
    // Until the last of them has come in.
    while (refused.status === 200) refused = await batch();
    expect(refused.headers.get("retry-after")).toBe("1");
    await expectProblem(refused, 503);
    expect((await post(url, "single")).status).toBe(200);
    const before = (await entriesOf(file)).length;
    for (const sender of senders) sender.destroy();
    await expect.poll(async () => (await batch()).status).toBe(200);
    expect(await entriesOf(file)).toHaveLength(before + 1);
  },
);
