// Starts the built server as a person would, with a data directory and a port of its own, and stops it again.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

const BINARY = process.env.PLAYGROUND_SERVER ?? new URL("../../target/debug/trellis", import.meta.url).pathname;

/** The server's address, and how to stop it. */
export async function startServer() {
  const directory = await mkdtemp(join(tmpdir(), "trellis-playground-"));
  // PostgreSQL does not run as root, and must get into the directory all the same.
  await chmod(directory, 0o755);
  const { DATABASE_URL, REPLICA_URLS, ...env } = process.env;
  const server = spawn(BINARY, ["--listen", "127.0.0.1:0", "--data-dir", join(directory, "data"), "--log", "warn"], {
    env,
    stdio: ["ignore", "pipe", "inherit"],
  });
  const ended = once(server, "exit");
  const stop = async () => {
    server.kill("SIGTERM");
    await ended;
    await rm(directory, { recursive: true, force: true });
  };
  let output = "";
  for await (const chunk of server.stdout.setEncoding("utf8").iterator({ destroyOnReturn: false })) {
    output += chunk;
    const address = /page +(http:\S+[^/\s])\//.exec(output)?.[1];
    if (address) {
      server.stdout.resume();
      return { address, stop };
    }
  }
  await stop();
  throw new Error(`${BINARY} ended before it served:\n${output}`);
}
