//! A small client of the site server's interface on loopback, which blocks. Nothing of it is shared with the site server.

use std::io::Write;
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use serde_json::Value;

use crate::client::{parse, read_to_end};
use crate::error::LabError;

/// How long the site server may be silent.
const PATIENCE: Duration = Duration::from_secs(30);

/// The interface, and as whom it is used.
pub struct Api {
    /// Port on 127.0.0.1.
    pub port: u16,
    /// What is sent as bearer.
    pub token: Option<String>,
}

impl Api {
    /// Sends a request and gives the answer's body; an error for every status but 2xx.
    pub fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Result<Value, LabError> {
        let asked = format!("{method} {path}");
        let refused = |answer: String| LabError::Site { asked: asked.clone(), answer };
        let answer = self.send(method, path, body).map_err(|error| refused(error.to_string()))?;
        if !(200..300).contains(&answer.status) {
            return Err(refused(format!("{} {}", answer.status, answer.text())));
        }
        if answer.body.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_slice(&answer.body).map_err(|error| refused(error.to_string()))
    }

    /// Adds a resource.
    pub fn add(&self, plural: &str, resource: &Value) -> Result<Value, LabError> {
        self.ask("POST", &format!("/{plural}"), Some(resource))
    }

    /// Removes a resource, whichever version it has.
    pub fn remove(&self, path: &str) -> Result<Value, LabError> {
        self.ask("DELETE", path, None)
    }

    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> std::io::Result<crate::Answer> {
        let mut socket = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        socket.set_read_timeout(Some(PATIENCE))?;
        let body = body.map(Value::to_string).unwrap_or_default();
        let mut request = format!("{method} /api/v1{path} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: close\r\n", self.port);
        if let Some(token) = &self.token {
            request.push_str(&format!("Authorization: Bearer {token}\r\n"));
        }
        if method == "DELETE" || method == "PUT" {
            request.push_str("If-Match: *\r\n");
        }
        if !body.is_empty() {
            request.push_str(&format!("Content-Type: application/json\r\nContent-Length: {}\r\n", body.len()));
        }
        request.push_str("\r\n");
        request.push_str(&body);
        socket.write_all(request.as_bytes())?;
        parse(&read_to_end(socket)?, false)
    }
}
