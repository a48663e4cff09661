/* SPDX-License-Identifier: MIT */
/* ThreadedServer PORT: answers HTTP on 127.0.0.1, each connection in a thread of its own. */
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

public class ThreadedServer {
	public static void main(String[] args) throws IOException {
		ServerSocket listener = new ServerSocket(Integer.parseInt(args[0]), 50, InetAddress.getByName("127.0.0.1"));

		System.out.println("listening on " + listener.getLocalSocketAddress());
		for (;;) {
			Socket connection = listener.accept();

			new Thread(() -> serve(connection)).start();
		}
	}

	static void serve(Socket connection) {
		try (connection) {
			BufferedReader in = new BufferedReader(new InputStreamReader(connection.getInputStream()));
			String body = "java at " + connection.getLocalSocketAddress() + ", asked by "
				+ connection.getInetAddress() + "\n";

			for (String line = in.readLine(); line != null && !line.isEmpty(); line = in.readLine()) {
			}
			connection.getOutputStream().write(("HTTP/1.0 200 OK\r\nContent-Length: " + body.length()
				+ "\r\n\r\n" + body).getBytes());
		} catch (IOException e) {
			e.printStackTrace();
		}
	}
}
