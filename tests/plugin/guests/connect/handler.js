// Connects to the port of this machine that its item names, and tells what came of it.
import instance from "wasi:sockets/instance-network@0.2.0";
import create from "wasi:sockets/tcp-create-socket@0.2.0";

export function handle(item) {
  let code = "would-block";
  try {
    const socket = create.createTcpSocket("ipv4");
    const address = { tag: "ipv4", val: { port: Number(item), address: [127, 0, 0, 1] } };
    socket.startConnect(instance.instanceNetwork(), address);
    for (;;) {
      try {
        socket.finishConnect();
        return '"connected"';
      } catch (error) {
        code = error.payload ?? error;
        if (code !== "would-block") throw error;
      }
    }
  } catch (error) {
    return JSON.stringify(String(error.payload ?? error));
  }
}
