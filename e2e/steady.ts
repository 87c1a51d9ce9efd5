/** Requests that go on while something else happens. */
import { setTimeout as sleep } from "node:timers/promises";
import { send } from "./app.ts";

/** Starts to ask for the greeting ten times a second; `stop` returns what went wrong, one line per request. */
export function steadyRequests(): { stop(): Promise<string[]> } {
  const wrong: string[] = [];
  let running = true;
  let answered = 0;
  const run = async (): Promise<void> => {
    while (running) {
      try {
        const { status, body } = await send("/");
        if (status === 200) answered++;
        else wrong.push(`${new Date().toISOString()} ${status} ${body}`);
      } catch (error) {
        wrong.push(`${new Date().toISOString()} ${error}`);
      }
      await sleep(100);
    }
  };
  const done = run();
  return {
    async stop() {
      running = false;
      await done;
      return answered > 0 ? wrong : [...wrong, "no request was answered at all"];
    },
  };
}
